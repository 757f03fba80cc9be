"""The dev page in a real browser: every lane, every loss, and what is shown is what the model said (D24, D29)."""

from __future__ import annotations

import json
import random
import re

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from devstack.demo.material import SAMPLES
from devstack.frontend import RESUME, assert_at_rest, until
from shared.routing import Lane
from tests.browser.page_kit import SECONDS, Reader, fact, shown


def test_each_lane_from_a_click_to_done(reader: Reader) -> None:
    """All five lanes, both tiers, a PDF and a photo: each by a click, and each result is shown readable."""
    page = reader.page
    seen = set[str]()

    page.click("[data-tour=resume]")
    resume = reader.card_of(page.locator(".task").first)
    reader.expect_state(resume, "done")
    expect(resume.locator(".result")).to_contain_text("Mara Lindqvist")
    expect(resume.locator(".result")).not_to_contain_text("{")
    match, label = reader.match()
    page.click("[data-sample=photo]")
    expect(page.locator("#file-picture")).to_be_visible()
    photo = reader.press_start()
    reader.expect_the_model_s_words(match, label)
    expect(match.locator(".score")).to_have_attribute("aria-valuenow", re.compile(r"\d+"))
    reader.expect_state(photo, "done")
    photo.get_by_text("Read from the picture").click()
    expect(photo.locator(".read")).to_contain_text("Must have")
    match.get_by_role("button", name="Tailor the résumé").click()
    tailored = reader.card_of(page.locator(".task").first)
    reader.expect_state(tailored, "done")
    expect(tailored.locator(".result")).to_contain_text("Fact check")
    page.click("#spend")
    expect(page.locator("#balance")).to_have_text("0 coins")
    match.get_by_role("button", name="Prepare the interview").click()
    tips = reader.card_of(page.locator(".task").first)
    reader.expect_state(tips, "done")
    free = reader.do("upload-resume", RESUME)
    reader.expect_state(free, "done")
    for card in (resume, match, photo, tailored, tips, free):
        lane = card.locator(".about .lane").text_content() or ""
        seen.add(lane)
        assert (card.locator(".tier").text_content() == "free") is lane.startswith("free")
    types = page.locator("#events-list b").all_text_contents()
    assert {"queued", "start", "token_batch", "step_result", "done"} <= set(types)
    assert seen | {"paid_vision"} == set(Lane)
    page.fill("#events-filter", "paid_vision")
    expect(page.locator("#events-list")).to_contain_text("paid_vision")
    assert_at_rest(reader.stack)


def test_a_page_that_is_loaded_again_in_mid_stream_goes_on_with_its_tasks(prepared: Reader) -> None:
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 200)
    prepared.page.reload()
    assert prepared.page.locator(".task").count() == 1
    prepared.wait_for_text(card, 240)
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    expect(fact(card, "first")).to_contain_text("s")


def test_a_connection_that_is_cut_at_random_events_loses_and_doubles_no_letter(
    prepared: Reader,
) -> None:
    """D29."""
    dice = random.Random(7)
    prepared.slow_down()
    card, label = prepared.match()
    for cuts in (1, 2, 3):
        prepared.wait_for_text(card, len(shown(card)) + dice.randrange(5, 120))
        prepared.stack.front("events").cut_all()
        expect(fact(card, "connections")).to_have_text(str(cuts + 1))
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    assert prepared.page.locator("#events-list .opened").count() == 4


def test_the_button_that_drops_the_connection_shows_a_countdown_and_the_text_goes_on(
    prepared: Reader,
) -> None:
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 100)
    prepared.page.click("[data-fault=drop]")
    expect(card.locator(".wait")).to_contain_text("The connection is lost")
    expect(prepared.page.locator("#look")).to_contain_text("Watch for")
    expect(prepared.page.locator("#story")).to_contain_text("can be reached again", timeout=SECONDS * 1000)
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)


def test_a_worker_killed_in_mid_stream_is_started_again_and_its_text_replaced(prepared: Reader) -> None:
    """D24: what is shown in the end is one attempt's text, to the letter."""
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 200)
    prepared.page.click("[data-kill=paid_stream]")
    expect(prepared.page.locator("#story")).to_contain_text("paid_stream was killed")
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    expect(fact(card, "attempt")).to_have_text("2")
    expect(prepared.page.locator("#story")).to_contain_text("has started paid_stream again")


def test_redis_that_is_away_for_two_seconds_costs_no_letter(prepared: Reader) -> None:
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 200)
    prepared.page.click("[data-fault=redis]")
    expect(prepared.page.locator("#story")).to_contain_text("Redis is back", timeout=SECONDS * 1000)
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)


def test_a_cancelled_task_says_so_and_gives_the_coins_back(prepared: Reader) -> None:
    page = prepared.page
    prepared.slow_down()
    before = prepared.frontend.balance()
    card, _ = prepared.match()
    prepared.wait_for_text(card, 20)
    card.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    prepared.expect_state(card, "cancelled")
    expect(card).to_contain_text("coins were given back")
    expect(page.locator("#balance")).to_have_text(f"{before} coins")
    assert page.evaluate("document.activeElement.closest('.task') !== null"), "the focus is lost"


def test_a_model_that_answers_429_is_waited_for_with_a_countdown(prepared: Reader) -> None:
    prepared.page.click("[data-fault=refuse]")
    card, label = prepared.match()
    expect(card.locator(".wait")).to_contain_text(re.compile(r"made again in \d s"), timeout=SECONDS * 1000)
    expect(card.locator(".countdown")).to_be_visible()
    prepared.expect_the_model_s_words(card, label)
    expect(fact(card, "refused.count")).to_have_text("1")


def test_a_refusal_counts_down_and_the_task_is_let_in_by_itself(prepared: Reader) -> None:
    """One task too many: 429 with `Retry-After`; meanwhile the others wait in the queue, held by the broker."""
    page = prepared.page
    page.click("[data-fault=hold]")
    expect(page.locator("[data-fault=hold]")).to_have_attribute("aria-pressed", "true")
    page.select_option("#times", "6")
    page.check("input[value=create-service]")
    page.click("[data-sample=text]")
    expect(page.locator("#text")).to_have_value(re.compile("Brightwater"))
    page.click("#send")
    expect(page.locator('.task[data-state="held"]')).to_have_count(3, timeout=SECONDS * 1000)
    expect(page.locator('.task[data-state="held"] .wait').first).to_contain_text(
        re.compile(r"as allowed; .* \d+ s")
    )
    queued = page.locator('.task[data-state="queued"]')
    expect(queued).to_have_count(3)
    expect(fact(queued.last, "position")).to_have_text(re.compile(r"\d"))
    depth = page.locator('.lane-row[data-lane="paid_stream"] .places [role=meter]')
    expect(depth).to_have_attribute("aria-valuenow", re.compile(r"[1-9]"))
    page.locator('.task[data-state="held"]').first.get_by_role("button", name="Cancel").click()
    page.click("[data-fault=hold]")
    expect(page.locator('.task[data-state="done"]')).to_have_count(5, timeout=SECONDS * 1000)
    expect(page.locator("#story")).to_contain_text("delivers again")


def test_files_are_dropped_and_start_what_they_are_for(prepared: Reader) -> None:
    """A picture is an advertisement; a document is a résumé."""
    page = prepared.page
    prepared.drop(SAMPLES / "job-photo.en.jpg", "image/jpeg")
    expect(page.locator("input[value=create-service]")).to_be_checked()
    expect(page.locator("#file-picture")).to_be_visible()
    photo = prepared.press_start()
    prepared.drop(SAMPLES / "resume.en.pdf", "application/pdf")
    expect(page.locator("input[value=upload-resume]")).to_be_checked()
    expect(page.locator("#file-name")).to_have_text("resume.en.pdf")
    pdf = prepared.press_start()
    prepared.expect_state(pdf, "done")
    prepared.expect_state(photo, "done")
    expect(photo.locator(".markdown h4").first).to_be_visible()


def test_hostile_words_of_a_model_are_shown_and_do_nothing(prepared: Reader) -> None:
    """Markup, scripts, pictures from afar and links that run code, in a streamed text and in a structured one."""
    page = prepared.page
    hostile = (
        'score: 61\n# Fine <img src=x onerror="window.hacked=1">\n\n<script>window.hacked=2</script>\n\n'
        "[go](javascript:window.hacked=3) ![far](http://evil.example/pixel.png) [<b>home</b>](https://example.com)\n\n"
        "<svg onload=window.hacked=4>\n\n"
        + "A sentence that makes the text long enough to be taken for an answer. "
        * 12
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    prepared.stack.llm.fail("says", text=hostile)
    card, _ = prepared.match()
    prepared.expect_state(card, "done")
    text = card.locator(".body > .markdown")
    expect(text).to_contain_text("<script>window.hacked=2</script>")
    expect(text.locator("a").last).to_have_attribute("href", "https://example.com")
    assert text.locator("script, img, svg, b").count() == 0
    assert text.locator('a:not([rel~="noopener"]), a[href^="javascript" i]').count() == 0
    assert page.evaluate("window.hacked") is None
    assert not [url for url in asked if "evil.example" in url]


def test_a_screen_reader_hears_each_block_once_and_not_while_it_grows(prepared: Reader) -> None:
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 300)
    complete = card.locator(".complete")
    expect(complete).to_have_attribute("aria-live", "polite")
    expect(card.locator(".growing").first).to_have_attribute("aria-hidden", "true")
    complete.evaluate("(region) => { for (const block of region.children) block.heard = true; }")
    heard = complete.evaluate("(region) => region.childElementCount")
    assert heard > 0
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    still = complete.evaluate("(region) => [...region.children].filter(({ heard }) => heard).length")
    assert still == heard, "blocks that were read out have been replaced, and would be read again"


def test_everything_can_be_done_by_keyboard_alone(prepared: Reader) -> None:
    page = prepared.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("input[value=upload-resume]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[value=create-service]")).to_be_checked()
    page.locator("#text").focus()
    page.keyboard.type("Senior engineer at Fabrikam. Python and Redis, five years.")
    page.keyboard.press("Control+Enter")
    card = prepared.card_of(page.locator(".task").first)
    expect(page.locator("#text")).to_be_focused()
    prepared.expect_state(card, "done")
    expect(page.locator("#text")).to_be_focused()
    assert "done" in (page.locator("#status").text_content() or "")
    page.locator("#events-list summary[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#events-list details[open] pre")).to_contain_text("event:")


def test_the_page_speaks_chinese_and_remembers_it(prepared: Reader) -> None:
    page = prepared.page
    page.click("#language")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("#send")).to_have_text("开始")
    card, _ = prepared.match()
    prepared.expect_state(card, "done")
    expect(card.locator(".state")).to_have_text("完成")
    page.reload()
    expect(page.locator("h2").first).to_have_text("开始任务")
    page.click("#language")
    expect(card.locator(".state")).to_have_text("done")


def test_both_languages_have_the_same_words_and_the_page_uses_no_other(reader: Reader) -> None:
    strings = reader.page.evaluate("import('/dev/static/strings.js').then(({ STRINGS }) => STRINGS)")
    english, chinese = strings["en"], strings["zh"]
    assert english.keys() == chinese.keys()
    places = re.compile(r"\{(\w+)\}")
    for key, sentence in english.items():
        assert set(places.findall(sentence)) == set(places.findall(chinese[key])), key
    sources = [
        path.read_text("utf-8")
        for path in (SAMPLES.parents[1] / "page/static").glob("*.*")
        if path.suffix in {".js", ".html"}
    ]
    used = {
        key
        for source in sources
        for key in re.findall(r'\bt\("([a-z][\w.-]+)"|data-t(?:-\w+)?="([\w.-]+)"', source)
    }
    assert {key for pair in used for key in pair if key} <= english.keys()


def test_axe_finds_no_serious_fault(prepared: Reader) -> None:
    """With a result, a refusal's countdown and a story on the page: light, dark, in Chinese, and on a phone."""
    page = prepared.page
    match, _ = prepared.match()
    prepared.expect_state(match, "done")
    page.click("[data-fault=refuse]")
    expect(page.locator("#story")).to_contain_text("429")
    prepared.expect_state(prepared.do("upload-resume", RESUME), "retrying")
    axe = Axe()
    faults = _serious(axe, page)
    page.click("#language")
    page.emulate_media(color_scheme="dark")
    faults |= _serious(axe, page)
    page.set_viewport_size({"width": 390, "height": 844})
    for pane in ("start", "tasks", "lanes", "events"):
        page.click(f"[data-pane-button={pane}]")
        faults |= _serious(axe, page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "wider than the phone"
    assert not faults, json.dumps(faults, indent=1)


def _serious(axe: Axe, page: Page) -> dict[str, list[str]]:
    found = axe.run(page).response["violations"]
    return {
        f"{fault['impact']} {fault['id']}": [
            node["html"] + " " + node.get("failureSummary", "") for node in fault["nodes"]
        ]
        for fault in found
        if fault["impact"] in {"serious", "critical"}
    }


def test_the_charts_have_the_past_after_a_reload(reader: Reader) -> None:
    chart = reader.page.locator('.lane-row[data-lane="paid_batch"] .running')
    points = "node => (node.getAttribute('d') || '').split('L').length"
    until(lambda: chart.evaluate(points) > 2 or None, "a chart", SECONDS)
    reader.page.reload()
    reader.page.wait_for_selector("body[data-ready]")
    until(lambda: chart.evaluate(points) > 2 or None, "the same chart, at once", SECONDS)
