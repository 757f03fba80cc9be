"""What may go wrong with a call to an emulated cloud, whichever it is: counting, and the end of the caller.

A fault looks at each call before it takes effect and after it; what it raises is what goes wrong. Calls are
numbered from 1 by the fault itself, among those that `counts` accepts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from devstack.clouds.recorder import Recorded

Counts = Callable[[Recorded], bool]
Call = TypeVar("Call")
"""How the cloud hands over a call."""


def every_call(_: Recorded) -> bool:
    return True


def writes_only(call: Recorded) -> bool:
    return call.is_write


class Fault(Generic[Call]):
    """What may go wrong with a call; on its own nothing does."""

    def __init__(self, counts: Counts = every_call) -> None:
        self._counts = counts
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def seen(self) -> int:
        """Return how many calls it has counted."""
        return self._seen

    def number(self, recorded: Recorded) -> int:
        """Count a call and return its number, 0 for one that does not count."""
        if not self._counts(recorded):
            return 0
        with self._lock:
            self._seen += 1
            return self._seen

    def before(self, call: Call, number: int) -> None:
        """Raise what goes wrong before the call took effect."""

    def after(self, call: Call, number: int) -> None:
        """Raise what goes wrong after the call took effect."""


class Crash(Fault[Call]):
    """The caller ends at the k-th call, before or after it took effect; no later call of its comes through.

    How an end looks to the caller is the cloud's: `end`.
    """

    def __init__(self, at: int, *, took_effect: bool = False, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._at = at
        self._took_effect = took_effect
        self._dead = False

    @property
    def happened(self) -> bool:
        """Return whether there was a k-th call."""
        return self._dead

    def before(self, call: Call, number: int) -> None:
        if self._dead or (number == self._at and not self._took_effect):
            self._dead = True
            self.end(call)

    def after(self, call: Call, number: int) -> None:
        if number == self._at and self._took_effect:
            self._dead = True
            self.end(call)

    def end(self, call: Call) -> NoReturn:
        """Raise what the caller gets in place of an answer."""
        raise NotImplementedError
