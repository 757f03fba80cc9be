"""The dev page in a real browser: every lane, and what is shown is what the model said; by mouse, keyboard and ear."""

from __future__ import annotations

import contextlib
import json
import re

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, Route, expect

from devstack.demo.material import SAMPLES
from devstack.frontend import RESUME, assert_at_rest, until
from devstack.page.server import PageServer
from devstack.stack import Stack
from shared.routing import Lane
from tests.browser.page_kit import SECONDS, Reader, fact


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
    heard = complete.evaluate("(region) => [...region.children].map((block) => (block.heard = true)).length")
    assert heard > 0
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    still = complete.evaluate("(region) => [...region.children].filter(({ heard }) => heard).length")
    assert still == heard, "blocks that were read out have been replaced, and would be read again"


def test_everything_can_be_done_by_keyboard_alone(prepared: Reader) -> None:
    """From the top of the page to a result, its next step, a fault and the raw events, by keys; focus is always seen."""
    page = prepared.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    prepared.tab_to(page.locator("input[value=upload-resume]"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[value=create-service]")).to_be_checked()
    prepared.tab_to(page.locator("[data-sample=text]"))
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value(re.compile("Brightwater"))
    prepared.tab_to(page.locator("#text"))
    page.keyboard.press("Control+Enter")
    card = prepared.card_of(page.locator(".task").first)
    prepared.expect_state(card, "done")
    expect(page.locator("#text")).to_be_focused()
    assert "done" in (page.locator("#status").text_content() or "")
    prepared.tab_to(card.get_by_role("button", name="Prepare the interview"))
    page.keyboard.press("Enter")
    tips = prepared.card_of(page.locator(".task").first)
    prepared.expect_state(tips, "done")
    prepared.tab_to(page.locator("[data-kill=paid_batch]"))
    prepared.tab_to(page.locator("[data-fault=refuse]"))
    page.keyboard.press("Space")
    expect(page.locator("#look")).to_contain_text("Watch for")
    prepared.tab_to(page.locator("#events-list summary[tabindex='0']"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#events-list details[open] pre")).to_contain_text("event:")


def test_on_a_phone_the_panes_are_changed_by_keyboard(prepared: Reader) -> None:
    page = prepared.page
    page.set_viewport_size({"width": 390, "height": 844})
    for pane in ("tasks", "lanes", "events", "start"):
        prepared.tab_to(page.locator(f"[data-pane-button={pane}]"))
        page.keyboard.press("Enter")
        expect(page.locator(f"#{pane}-pane")).to_be_visible()
        expect(page.locator(f"[data-pane-button={pane}]")).to_have_attribute("aria-pressed", "true")


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
        assert page.evaluate(OUT_OF_THEIR_CARD) == []
    assert not faults, json.dumps(faults, indent=1)


OUT_OF_THEIR_CARD = """() => [...document.querySelectorAll('.card button')]
    .filter((button) => button.offsetParent)
    .filter((button) => button.getBoundingClientRect().right > button.closest('.card').getBoundingClientRect().right - 8)
    .map(({ outerHTML }) => outerHTML)"""


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


def test_a_machine_without_chinese_letters_shows_no_boxes_in_their_place(
    browser: Browser, served: tuple[Stack, PageServer]
) -> None:
    """Chinese letters are as wide as they are high; boxes are narrower. The page's own letters come late here."""
    with contextlib.closing(browser.new_context()) as context:
        page, held = context.new_page(), list[Route]()
        page.route("**/dev/font/*", lambda route: held.append(route))  # noqa: PLW0108 - it asks for a name
        page.goto(f"{served[1].url}?lang=zh", wait_until="commit")
        expect(page.locator(".lane-row .places")).to_have_count(len(Lane))
        for route in held:
            route.continue_()
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        seen, narrow = page.evaluate(NARROW_WORDS)
    assert seen > 20
    assert narrow == []


NARROW_WORDS = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const words = [];
    while (walker.nextNode()) if (/^[\\u4e00-\\u9fff]+$/.test(walker.currentNode.data)) words.push(walker.currentNode);
    const widths = words.map((word) => {
        const range = document.createRange();
        range.selectNodeContents(word);
        const width = [...range.getClientRects()].reduce((sum, rect) => sum + rect.width, 0);
        return [word.data, width / word.data.length / parseFloat(getComputedStyle(word.parentElement).fontSize)];
    }).filter(([, width]) => width > 0);
    return [widths.length, widths.filter(([, width]) => width < 0.9)];
}"""
