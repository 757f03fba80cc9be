"""Counts the commands that a request or a delivery sends to Redis, its attempt's threads included.

The count belongs to a context (`contextvars`): whoever begins a request opens one, and a thread that runs in
a copy of that context counts into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

Watched = TypeVar("Watched")


class Calls:
    """How many commands were sent so far; an addition lost between two threads is not worth a lock."""

    __slots__ = ("commands",)

    def __init__(self) -> None:
        self.commands = 0


_under_way: ContextVar[Calls | None] = ContextVar("store_calls", default=None)


@contextmanager
def counted() -> Iterator[Calls]:
    """Count what is sent within the block, and in threads that take its context along."""
    calls = Calls()
    token = _under_way.set(calls)
    try:
        yield calls
    finally:
        _under_way.reset(token)


class _WatchedStore:
    """A store that counts; what it answers, and raises, is the store's own."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def command(self, *args: Any) -> Any:
        _count(1)
        return self._store.command(*args)

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        _count(len(commands))
        replies: list[Any] = self._store.pipeline(commands)
        return replies

    def script(self, script: Any, keys: Sequence[str], args: Sequence[Any]) -> Any:
        _count(1)
        return self._store.script(script, keys, args)

    def close(self) -> None:
        self._store.close()


def watch(store: Watched) -> Watched:
    """Return a store that counts its commands and is otherwise `store`."""
    return cast("Watched", _WatchedStore(store))


def _count(commands: int) -> None:
    if (calls := _under_way.get()) is not None:
        calls.commands += commands
