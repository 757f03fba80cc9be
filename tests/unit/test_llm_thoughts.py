"""Thoughts inside a text: where they begin and end, however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.llm.thoughts import CLOSE, OPEN, ThoughtFilter


def visible(pieces: list[str]) -> str:
    thoughts = ThoughtFilter()
    return "".join([thoughts.visible(piece) for piece in pieces] + [thoughts.rest()])


@given(st.lists(st.text(alphabet="<think>/ a\n")))
def test_a_text_means_the_same_however_it_is_cut(pieces: list[str]) -> None:
    assert visible(pieces) == visible(["".join(pieces)])


@given(st.text())
def test_a_text_without_marks_is_untouched(text: str) -> None:
    assert visible(list(text)) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"{OPEN}why{CLOSE}\n\nscore: 7", "score: 7"),
        (f"\n {OPEN}{CLOSE}answer", "answer"),
        (f"{OPEN}without an end", ""),
        (f"{OPEN}a{CLOSE} {OPEN}b{CLOSE}", f"{OPEN}b{CLOSE}"),
        (f"answer {OPEN}not at the beginning{CLOSE}", f"answer {OPEN}not at the beginning{CLOSE}"),
        ("<thi", "<thi"),
        ("  ", "  "),
    ],
)
def test_only_thoughts_at_the_beginning_are_left_out(text: str, answer: str) -> None:
    assert visible(list(text)) == answer
