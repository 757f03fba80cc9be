"""The page's buttons for faults, and what a task shows while it is refused, waits, or is made again (D24, D29)."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from shared.routing import Model, Tier
from shared.state import keys
from tests.browser.page_kit import SECONDS, SLOW, Reader, fact, shown


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


def test_a_model_that_is_slow_lets_slots_and_leases_be_seen_until_it_is_fast_again(prepared: Reader) -> None:
    page, pace = prepared.page, prepared.stack.llm.pace
    prepared.slow_down()
    card, label = prepared.match()
    prepared.wait_for_text(card, 20)
    page.click("[data-fault=slow]")
    expect(page.locator("[data-fault=slow]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#story")).to_contain_text("ten times as slowly")
    assert pace.tokens_per_second == pytest.approx(SLOW / 10)
    lane = page.locator('.lane-row[data-lane="paid_stream"]')
    expect(lane.locator(".slots [role=meter]")).to_have_attribute("aria-valuenow", "1")
    expect(lane.locator(".first")).to_contain_text("first text")
    expect(page.locator("#open-tasks li")).to_contain_text(re.compile(r"paid_stream.*attempt 1.*lease \d"))
    expect(lane.locator(".chart")).to_have_attribute("aria-label", re.compile("[1-9] running at once"))
    page.click("[data-fault=slow]")
    expect(page.locator("[data-fault=slow]")).to_have_attribute("aria-pressed", "false")
    assert pace.tokens_per_second == pytest.approx(SLOW)
    prepared.hurry()
    prepared.expect_the_model_s_words(card, label)
    expect(page.locator("#no-open-tasks")).to_be_visible()


def test_a_model_that_falls_silent_is_given_up_and_the_next_attempt_s_text_is_shown(prepared: Reader) -> None:
    """D24: half an answer is on the page when it stops, and nothing of it stays."""
    page = prepared.page
    page.click("[data-fault=silence]")
    expect(page.locator("#story")).to_contain_text("will fall silent")
    card, label = prepared.match()
    prepared.wait_for_text(card, 20)
    expect(card.locator(".wait")).to_contain_text(re.compile(r"made again in \d s"), timeout=SECONDS * 1000)
    prepared.expect_the_model_s_words(card, label)
    expect(fact(card, "attempt")).to_have_text("2")


def test_a_task_that_finds_no_slot_counts_down_to_its_next_try(prepared: Reader) -> None:
    with slots_taken(prepared):
        card, label = prepared.match()
        expect(card.locator(".wait")).to_contain_text(
            re.compile(r"Every slot .* \d+ s"), timeout=SECONDS * 1000
        )
        prepared.expect_state(card, "backpressure")
    prepared.expect_the_model_s_words(card, label)
    expect(fact(card, "attempt")).to_have_text("1")


@contextlib.contextmanager
def slots_taken(reader: Reader) -> Iterator[None]:
    """Hold every slot of the model that matches, as attempts of somebody else would."""
    key = keys.slots(Model.DEEPSEEK_REASONER, Tier.PAID)
    count = reader.stack.limits.slots(Model.DEEPSEEK_REASONER, Tier.PAID)
    until_ms = round((time.time() + 600) * 1000)
    holders = [f"somebody-{number}" for number in range(count)]
    with contextlib.closing(reader.stack.open_store()) as store:
        store.command("ZADD", key, *(part for holder in holders for part in (until_ms, holder)))
        try:
            yield
        finally:
            store.command("ZREM", key, *holders)
