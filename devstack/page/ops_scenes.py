"""What is played for the pictures of the operators' page: an evening on call, on a stack of its own."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from devstack.frontend import JOB, Frontend, until
from devstack.stack import Stack
from shared.state.quota import grant

LONG_MS = 90_000
NAME = "ada"
COINS = 40


def sign_in(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url('actions')}/ops")
    page.fill("#name", NAME)
    page.fill("#token", stack.ops_token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#lanes")


def overview(page: Page, stack: Stack) -> None:
    """A lane is stopped, a limit is lowered, some tasks ended, some run, and one waits."""
    user = _a_user(stack, "mara")
    for _ in range(6):
        user.outcome(_match(user))
    _fail_a_match(user)
    sign_in(page, stack)
    _order(
        page, stack, "paid_batch", "#slots-value-1", "2", "#slots-1-reason", "the provider halved our limit"
    )
    page.goto(f"{stack.url('actions')}/ops/lanes/free_stream")
    page.fill("#stop-reason", "the provider answers 500")
    page.get_by_role("button", name="Stop free_stream").click()
    for each in (user, _a_user(stack, "jonas"), _a_user(stack, "ines")):
        _match(each)
    _spend_all(stack, user)
    _match(user)
    page.goto(f"{stack.url('actions')}/ops")
    page.wait_for_selector("#running tbody tr:nth-child(3)", timeout=LONG_MS)
    page.wait_for_selector("#lanes :text('lane_stopped')", timeout=LONG_MS)


def dead_letter(page: Page, stack: Stack) -> None:
    """A task failed for good; its letter says why, and what a replay would do."""
    _fail_a_match(_a_user(stack, "mara"))
    sign_in(page, stack)
    page.get_by_role("link", name="Dead letters").click()
    page.wait_for_selector("td a", timeout=LONG_MS)
    page.locator("td a").first.click()
    page.wait_for_selector("#replay")


def replayed(page: Page, stack: Stack) -> None:
    """The new task, on its way to done, with the one whose place it takes."""
    dead_letter(page, stack)
    page.click("#replay")
    page.wait_for_selector(".story")
    page.wait_for_timeout(4_000)
    page.reload()
    page.goto(page.url.partition("?")[0])


def _a_user(stack: Stack, name: str) -> Frontend:
    user = Frontend(stack, name).with_resume()
    _give(stack, user, COINS)
    return user


def _match(user: Frontend) -> dict[str, Any]:
    return user.act("create-service", {"jobText": JOB, "locale": "en"})


def _fail_a_match(user: Frontend) -> None:
    user.stack.llm.fail("filtered", about="a word that nobody may say")
    accepted = user.act("create-service", {"jobText": f"{JOB} a word that nobody may say", "locale": "en"})
    user.outcome(accepted)
    until(lambda: user.stack.qstash.state()["dlq_size"] or None, "the dead letter")


def _spend_all(stack: Stack, user: Frontend) -> None:
    _give(stack, user, -user.balance())


def _give(stack: Stack, user: Frontend, coins: int) -> None:
    store = stack.open_store()
    try:
        grant(store, user.user, coins, f"{coins} for a picture", initial=0)
    finally:
        store.close()


def _order(page: Page, stack: Stack, lane: str, value: str, number: str, reason: str, why: str) -> None:
    page.goto(f"{stack.url('actions')}/ops/lanes/{lane}")
    page.fill(value, number)
    page.fill(reason, why)
    page.locator(value).press("Enter")
    page.wait_for_selector(".notice.good")
