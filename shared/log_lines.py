"""How a log record becomes a line: JSON for machines, or a form for people who watch a terminal.

One shape of JSON suits both clouds, so that nothing depends on where a function runs: `severity`, `time` and
the `logging.googleapis.com/…` names are Cloud Logging's, `level`, `timestamp` and `requestId` Lambda's,
`stack_trace` is what Error Reporting groups by.

A fact is a number or a word without blanks; anything else is not shown, so that no text can slip into a line
by way of a fact. A line holds no control character: what a stranger sent cannot forge another line.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from enum import Enum

from shared.log_events import FACTS, LogEvent

Fact = str | int | float | bool | None
MAX_WORD_CHARS = 200
MAX_TEXT_CHARS = 1_000
MAX_TRACE_CHARS = 16_000
"""A line is far below what the clouds cut at; of a long trace the beginning and the end are kept."""
NOT_SHOWN = "(not shown)"
_WORD = re.compile(r"[!-~]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LAMBDAS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Lambda's names of levels where they are not Python's."""
_COLOURS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}
_LABELS = ("function", "event", "lane")
"""What Cloud Logging indexes beside the line's own text."""


def facts_of(record: logging.LogRecord, bound: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return a record's facts in their order: its own, and what is bound where it was logged."""
    own = getattr(record, "facts", None)
    if own is None:
        own = {name: value for name, value in vars(record).items() if name in _ORDER}
    given = {name: value for name, value in {**bound, **own}.items() if value is not None and name in _ORDER}
    return {name: shown(given[name]) for name in sorted(given, key=_ORDER.__getitem__)}


_ORDER = {name: number for number, name in enumerate(FACTS)}
"""What a plain `log.info(…, extra=…)` may name, too: no attribute that every record has."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def shown(value: object) -> Fact:
    """Return what a line shows of a fact."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else NOT_SHOWN
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value[:MAX_WORD_CHARS]
    return NOT_SHOWN


def said(record: logging.LogRecord) -> str:
    """Return a record's sentence; of one whose arguments do not fit, its template."""
    try:
        return record.getMessage()[:MAX_TEXT_CHARS]
    except Exception:  # noqa: BLE001 - whatever a `__str__` raises, a line without it is better than none
        return str(record.msg)[:MAX_TEXT_CHARS]


def stack_of(record: logging.LogRecord) -> str | None:
    """Return the stack trace that `Discretion` has left of a record's exception."""
    trace = record.exc_text
    if trace and len(trace) > MAX_TRACE_CHARS:
        half = MAX_TRACE_CHARS // 2
        trace = f"{trace[:half]}\n… {len(trace) - 2 * half} characters left out …\n{trace[-half:]}"
    return trace


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(
        self, bound: Callable[[], Mapping[str, Fact]], *, function: str = "", project: str | None = None
    ) -> None:
        """Format for one process.

        Args:
            bound: tells what is bound where a record is logged.
            function: whose process this is.
            project: the Google Cloud project in which traces are looked up.
        """
        super().__init__()
        self._bound = bound
        self._function = function or None
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        facts = facts_of(record, {"function": self._function, **self._bound()})
        what = getattr(record, "event", None)
        at = _time_of(record)
        line: dict[str, object] = {
            "severity": record.levelname,
            "level": _LAMBDAS.get(record.levelname, record.levelname),
            "time": at,
            "timestamp": at,
            "message": said(record),
            "event": what.event if isinstance(what, LogEvent) else None,
            **{name: value for name, value in facts.items() if name != "request_id"},
            "reason": _reason_of(record),
            "hint": _hint_of(record),
            "requestId": facts.get("request_id"),
            "logger": record.name,
            "stack_trace": _reported(stack_of(record)),
            "logging.googleapis.com/trace": self._trace(facts.get("trace")),
            "logging.googleapis.com/spanId": facts.get("span"),
        }
        labels = {name: line[name] for name in _LABELS if line.get(name)}
        line["logging.googleapis.com/labels"] = labels or None
        return _encode({name: value for name, value in line.items() if value is not None})

    def _trace(self, trace: Fact) -> Fact:
        return f"projects/{self._project}/traces/{trace}" if trace and self._project else trace


class HumanLines(logging.Formatter):
    """A line that a person reads: when, how bad, where, what, and the facts; below it a stack trace."""

    def __init__(
        self, bound: Callable[[], Mapping[str, Fact]], *, function: str = "", colour: bool = False
    ) -> None:
        super().__init__()
        self._bound = bound
        self._function = function
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        what = getattr(record, "event", None)
        facts = facts_of(record, self._bound())
        facts.pop("function", None)
        name = what.event if isinstance(what, LogEvent) else "log"
        told = [f"{self._function:<11} {name:<20}", *(f"{key}={value}" for key, value in facts.items())]
        if record.levelno >= logging.WARNING or not isinstance(what, LogEvent):
            sentences = filter(None, (said(record), _reason_of(record), _hint_of(record)))
            told.append(f"| {'; '.join(sentences)}")
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = self._painted(f"{record.levelname:<8}", record.levelno)
        line = f"{at}.{int(record.msecs):03} {level} {_escaped(' '.join(told))}"
        trace = stack_of(record)
        return line if trace is None else f"{line}\n{_indented(trace)}"

    def _painted(self, text: str, level: int) -> str:
        return f"\x1b[{_COLOURS.get(level, '1;31')}m{text}\x1b[0m" if self._colour else text


def _time_of(record: logging.LogRecord) -> str:
    """Return when it was logged, as RFC 3339 has it."""
    seconds, fraction = divmod(record.created, 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(fraction * 1e6):06}Z"


def _reason_of(record: logging.LogRecord) -> str | None:
    reason = getattr(record, "reason", None)
    return str(reason)[:MAX_TEXT_CHARS] if reason else None


def _hint_of(record: logging.LogRecord) -> str | None:
    what = getattr(record, "event", None)
    return (what.hint or None) if isinstance(what, LogEvent) else None


def _reported(trace: str | None) -> str | None:
    """Return a stack trace with the line by which Error Reporting knows Python's."""
    return None if trace is None else f"Traceback (most recent call last):\n{trace}"


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "backslashreplace").decode(), text)


def _indented(trace: str) -> str:
    return "\n".join(f"    {_escaped(line)}" for line in trace.splitlines())
