"""The ways in which a provider fails, and what the product is to make of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from typing import Any

from devstack.reliability.subjects import Subject

OWN_DELAY = range(2, 3)
"""What a lane tells QStash after a first attempt, in seconds, when the provider has told nothing."""
BEYOND_INTEGERS = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault of the provider, and what the product makes of it."""

    kind: str
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    delay: range = OWN_DELAY
    """The seconds after which the task is to be tried again."""
    calls: int = 1
    """How many calls a structured task makes in one attempt before it believes it: two where it repairs."""
    date_seconds: int | None = None
    """How far off the date is that the provider gives, if it gives one."""

    def arm(self, subject: Subject, *, streams: bool, attempts: int = 1) -> None:
        facts = dict(self.facts)
        if self.date_seconds is not None:
            moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.date_seconds)
            facts["retry_after"] = format_datetime(moment, usegmt=True)
        subject.fails(self.kind, streams=streams, times=attempts * (1 if streams else self.calls), **facts)


def _limited(retry_after: str | None, delay: range = OWN_DELAY) -> Case:
    return Case("status", "provider_rate_limited", {"status": 429, "retry_after": retry_after}, delay)


def _answers(status: int, retry_after: str | None = None, delay: range = OWN_DELAY) -> Case:
    return Case("status", "provider_error", {"status": status, "retry_after": retry_after}, delay)


LIMITED = (
    *(_limited(text) for text in (None, "soon", "1e999", BEYOND_INTEGERS)),
    *(_limited(text, range(1, 2)) for text in ("0", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")),
    _limited("7", range(7, 8)),
    replace(_limited(None, range(3, 10)), date_seconds=9),
)
FAILING = (
    *(_answers(status) for status in (408, 500, 502, 503, 529)),
    *(_answers(status, "3", range(3, 4)) for status in (500, 503, 529)),
)
SILENT = (
    Case("hang", "provider_timeout"),
    *(Case("silence", "provider_timeout", {"after_pieces": pieces}) for pieces in (0, 7)),
)
BROKEN = tuple(
    Case(kind, code, {"after_pieces": pieces})
    for pieces in (0, 7)
    for kind, code in (
        ("cut", "provider_disconnected"),
        ("unfinished", "provider_disconnected"),
        ("garbled", "provider_error"),
        ("invalid_utf8", "provider_error"),
        ("error_event", "provider_error"),
    )
)
FINAL = (
    Case("tool_call", "empty_output", calls=2),
    Case("empty", "empty_output", calls=2),
    Case("filtered", "provider_refused", {"after_pieces": 7}),
    Case("filtered", "provider_refused", {"after_pieces": 0}),
    Case("status", "provider_refused", {"status": 400}, calls=2),
    Case("status", "provider_refused", {"status": 401}),
    Case("status", "provider_refused", {"status": 403}),
    Case("status", "provider_rate_limited", {"status": 429, "retry_after": "86400"}),
)
LASTING = (
    _limited("1"),
    _answers(500),
    _answers(503, "1"),
    Case("hang", "provider_timeout"),
    Case("silence", "provider_timeout"),
    Case("cut", "provider_disconnected"),
    Case("garbled", "provider_error"),
)
