"""A reader before the page: what a person does with it, and what it shows."""

from __future__ import annotations

import base64
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from devstack.demo.material import sample
from devstack.frontend import Frontend, until
from devstack.stack import Stack

SECONDS = 30
TOKENS_PER_SECOND = 4_000
SLOW = 100
"""Tokens a second at which there is a middle of a text to do something in."""
MOST_TABS = 90
UNSEEN_FOCUS = """() => {
    const node = document.activeElement;
    if (node === document.body) return null;
    const looks = () => [node, node.parentElement, node.nextElementSibling].filter(Boolean).map((each) => {
        const { outline, boxShadow, borderColor, clip, top } = getComputedStyle(each);
        return [outline, boxShadow, borderColor, clip, top].join();
    }).join();
    const focused = looks();
    node.blur();
    const isSeen = looks() !== focused;
    node.focus({ focusVisible: true, preventScroll: true });
    return isSeen ? null : node.outerHTML.slice(0, 200);
}"""
"""What has the focus and looks as it does without; null if the difference is seen on it, around it, or beside it."""
ANY_ID = re.compile(r"\w{8,}")
_LABELS = itertools.count(1)


def tab_to(page: Page, target: Locator, most_tabs: int) -> None:
    """Press Tab until something has the focus, as often as a person would; it must be seen where the focus is."""
    for _ in range(most_tabs):
        page.keyboard.press("Tab")
        unseen = page.evaluate(UNSEEN_FOCUS)
        assert unseen is None, f"nothing shows that this has the focus: {unseen}"
        if target.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"{target} is out of the keyboard's reach")


@dataclass
class Reader:
    """One user with the page open."""

    page: Page
    stack: Stack
    user: str

    @property
    def frontend(self) -> Frontend:
        return Frontend(self.stack, self.user)

    def do(self, action: str, text: str) -> Locator:
        """Choose an action, type a text, press Start; returns the new card."""
        self.page.check(f"input[value={action}]")
        self.page.fill("#text", text)
        return self.press_start()

    def press_start(self) -> Locator:
        cards = self.page.locator(".task")
        count = cards.count()
        self.page.click("#send")
        expect(cards).to_have_count(count + 1)
        return self.card_of(cards.first)

    def card_of(self, card: Locator) -> Locator:
        """Return a locator that stays with a card when newer ones come above it."""
        expect(card).to_have_attribute("data-task", ANY_ID, timeout=SECONDS * 1000)
        return self.page.locator(f'.task[data-task="{card.get_attribute("data-task")}"]')

    def match(self) -> tuple[Locator, str]:
        """Start a match; returns its card and the label by which the model's words are found."""
        label = f"ref-{self.user.lower().replace('-', '')}{next(_LABELS)}"
        return self.do("create-service", f"{sample('job.en')}\n{label}"), label

    def slow_down(self) -> None:
        """Have models talk slowly from now on, also those in mid-text."""
        self.stack.llm.pace.tokens_per_second = SLOW

    def hurry(self) -> None:
        """Have models talk fast again: what was to be done in mid-text is done."""
        self.stack.llm.pace.tokens_per_second = TOKENS_PER_SECOND

    def tab_to(self, target: Locator) -> None:
        tab_to(self.page, target, MOST_TABS)

    def wait_for_text(self, card: Locator, characters: int) -> None:
        """Wait until this much text is there."""
        until(lambda: len(shown(card)) >= characters or None, f"{characters} characters", SECONDS)

    def said(self, label: str) -> str:
        """Return what the model has said about a label in its one call that went to the end."""
        calls = [c for c in self.stack.llm.transcript.calls if label in c.labels and c.finished]
        return calls[-1].said

    def expect_state(self, card: Locator, state: str) -> None:
        expect(card).to_have_attribute("data-state", state, timeout=SECONDS * 1000)

    def expect_the_model_s_words(self, card: Locator, label: str) -> None:
        """The task is done, and shows to the letter what the model said, as source and as rendered text."""
        self.expect_state(card, "done")
        card.get_by_role("button", name="Source").click()
        assert card.locator(".source").text_content() == self.said(label)
        card.get_by_role("button", name="Text", exact=True).click()
        last = self.said(label).rstrip().rsplit("\n", 1)[1].lstrip("-*0123456789. ").replace("*", "")
        expect(card.locator(".complete")).to_contain_text(last)
        expect(card.locator(".growing > *")).to_have_count(0)

    def drop(self, file: Path, media_type: str) -> None:
        """Drop a file on the form, as a person does with a mouse."""
        handle = self.page.evaluate_handle(
            """([data, name, type]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const carried = new DataTransfer();
                carried.items.add(new File([bytes], name, { type }));
                return carried;
            }""",
            [base64.b64encode(file.read_bytes()).decode(), file.name, media_type],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("#start", event, {"dataTransfer": handle})


def shown(card: Locator) -> str:
    """Return the text that a card shows, rendered."""
    return card.locator(".body > .markdown").text_content() or ""


def fact(card: Locator, name: str) -> Locator:
    return card.locator(f'[data-fact="{name}"] dd')
