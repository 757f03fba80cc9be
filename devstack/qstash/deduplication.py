"""Deduplication: a message whose key was taken lately is not sent, whatever became of the first."""

from __future__ import annotations

import time

from devstack.qstash.message import Message


class Deduplicator:
    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._taken: dict[str, tuple[str, float]] = {}

    def first_id(self, message: Message) -> str:
        """Return the id of the message that holds `message`'s key: its own when it is the first."""
        key = message.instructions.deduplication_id
        if key is None and message.instructions.content_based_deduplication:
            key = message.content_key()
        if key is None:
            return message.id
        now = time.monotonic()
        holder, expires = self._taken.get(key, ("", now))
        if now < expires:
            return holder
        self._taken[key] = (message.id, now + self._window_seconds)
        return message.id
