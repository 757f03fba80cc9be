"""Tells a model's thoughts from its answer where both come in one text: `<think>…</think>` at its beginning.

DeepSeek and GLM send thoughts in a field of their own. Small servers pass on what the model writes, and a
reader must not see it.
"""

from __future__ import annotations

from enum import StrEnum

OPEN, CLOSE = "<think>", "</think>"


class _At(StrEnum):
    START = "start"
    THOUGHT = "thought"
    GAP = "gap"
    ANSWER = "answer"


class ThoughtFilter:
    """Reads one answer piece by piece; what might be the half of a mark is held back until it is whole."""

    def __init__(self) -> None:
        self._at = _At.START
        self._held = ""

    @property
    def thinking(self) -> bool:
        """Tell whether the text is inside the marks now."""
        return self._at is _At.THOUGHT

    def visible(self, piece: str) -> str:
        """Return what of the text so far, not returned before, belongs to the answer."""
        if self._at is _At.ANSWER:
            return piece
        self._held += piece
        if self._at is _At.START:
            self._leave_start()
        if self._at is _At.THOUGHT:
            self._leave_thought()
        if self._at is _At.GAP and self._held.lstrip():
            self._at, self._held = _At.ANSWER, self._held.lstrip()
        return self.rest() if self._at is _At.ANSWER else ""

    def rest(self) -> str:
        """Return what is still held back when the text has ended: the beginning of a mark that was none."""
        held, self._held = self._held, ""
        return held if self._at in {_At.START, _At.ANSWER} else ""

    def _leave_start(self) -> None:
        beginning = self._held.lstrip()
        if beginning.startswith(OPEN):
            self._at, self._held = _At.THOUGHT, beginning.removeprefix(OPEN)
        elif not OPEN.startswith(beginning):
            self._at = _At.ANSWER

    def _leave_thought(self) -> None:
        _, mark, after = self._held.partition(CLOSE)
        if mark:
            self._at, self._held = _At.GAP, after
        else:
            self._held = self._held[-len(CLOSE) :]
