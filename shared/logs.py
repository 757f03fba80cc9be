"""How this process logs: one line for one thing that happened, on stderr, without a user's text or a token.

    with bind(task=…, lane=…):                       what every line within carries
        event(log, LogEvent.STEP_CLAIMED, waited_ms=12)

    log_events       what is logged: names, levels, sentences, facts, hints
    discretion       what is taken out of a record
    log_lines        JSON, or a form for people

A plain `log.info("…", extra={"task": …})` becomes a line too, with the facts that `log_events` knows.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, ParamSpec, TypeVar

from shared.discretion import OURS, Discretion
from shared.errors import SluiceError
from shared.log_events import ERROR_FACT, LogEvent
from shared.log_lines import Fact, HumanLines, JsonLines
from shared.settings import LogFormat, LogSettings

__all__ = [
    "SERVERS",
    "LogEvent",
    "also",
    "bind",
    "carried",
    "event",
    "request_facts",
    "set_up_logs",
    "trace_facts",
]
SERVERS = ("gunicorn.error", "gunicorn.access", "uvicorn.error", "uvicorn.access")
"""Loggers that get handlers of their own later than this: only a filter of the logger itself stays."""
log = logging.getLogger(__name__)
_bound: ContextVar[Mapping[str, Fact]] = ContextVar("bound", default=MappingProxyType({}))
_REQUEST_ID = re.compile(r'"requestId"\s*:\s*"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
MAX_CONTEXT_CHARS = 8_000
P = ParamSpec("P")
R = TypeVar("R")


def event(
    logger: logging.Logger,
    what: LogEvent,
    facts: Mapping[str, Fact] = MappingProxyType({}),
    /,
    *,
    error: BaseException | str | None = None,
    traced: bool = False,
    reason: str | None = None,
    level: int | None = None,
    **more: Fact,
) -> None:
    """Log that something happened.

    Args:
        logger: the module's own.
        what: what happened; it names the facts that belong to it.
        facts: what is known of it.
        error: what went wrong: its code or type is a fact, its text is told when it is ours.
        traced: whether the error's stack is told too: it is one that nobody expected.
        reason: why, in words of ours or of an operator, where no error says it.
        level: another level than the event's own.
        more: further facts. A fact is a number, or a word without blanks; None leaves it out.
    """
    level = what.level if level is None else level
    if not logger.isEnabledFor(level):
        return
    extra: dict[str, Any] = {"event": what, "facts": {ERROR_FACT: _code_of(error), **facts, **more}}
    extra["reason"] = str(error) if isinstance(error, SluiceError) else reason
    exc_info = error if traced and isinstance(error, BaseException) else None
    logger.log(level, what.says, exc_info=exc_info, extra=extra, stacklevel=2)


def _code_of(error: BaseException | str | None) -> str | None:
    if isinstance(error, SluiceError):
        return error.code
    return type(error).__name__ if isinstance(error, BaseException) else error


@contextmanager
def bind(**facts: Fact) -> Iterator[None]:
    """Give every line that is logged within these facts; those bound around it stay."""
    token = _bound.set({**_bound.get(), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


def also(**facts: Fact) -> None:
    """Give every line that follows these facts too, until the innermost `bind` around ends."""
    _bound.set({**_bound.get(), **facts})


def carried(call: Callable[P, R]) -> Callable[P, R]:
    """Return `call` for another thread, to run with all that is bound here and now."""
    return functools.partial(contextvars.copy_context().run, call)


def trace_facts(traceparent: str | None) -> dict[str, Fact]:
    """Return what a trace context of W3C's shape is called in a line."""
    if not traceparent:
        return {}
    _version, trace, span, _flags = traceparent.split("-")
    return {"trace": trace, "span": span}


def request_facts(header: Callable[[str], str | None]) -> dict[str, Fact]:
    """Return what the platform calls this request: Lambda's adapter hands over the invocation's context."""
    found = _REQUEST_ID.search((header("x-amzn-request-context") or "")[:MAX_CONTEXT_CHARS])
    return {"request_id": found[1]} if found else {}


class _Rerouted(Discretion):
    """A filter of a web server's logger, whose own handlers would write another form: ours write instead."""

    def filter(self, record: logging.LogRecord) -> bool:
        if super().filter(record):
            for handler in logging.getLogger().handlers:
                handler.handle(record)
        return False


def set_up_logs(settings: LogSettings, function: str = "") -> None:
    """Make this process log to stderr, discreetly, whatever its libraries do later."""
    discretion, root = Discretion(), logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in root.handlers:
        handler.addFilter(discretion)
        if handler.formatter is None:  # ours, or the framework's own, which adds its execution's id to JSON
            handler.setFormatter(_formatter(settings, function))
    for name in SERVERS:
        logging.getLogger(name).addFilter(_Rerouted())
    logging.getLogger(OURS).setLevel(settings.level)
    logging.captureWarnings(capture=True)  # pydantic's serialiser warns with the value
    # stderr may be closed: no reason to fail a task, nor to print what was to be logged
    logging.raiseExceptions = False
    sys.excepthook = _log_end
    sys.unraisablehook = lambda unraisable: _log_end(None, unraisable.exc_value, None)
    threading.excepthook = lambda ended: _log_end(None, ended.exc_value, None)


def _formatter(settings: LogSettings, function: str) -> logging.Formatter:
    if settings.format is LogFormat.HUMAN:
        return HumanLines(_bound.get, function=function, colour=sys.stderr.isatty())
    return JsonLines(_bound.get, function=function, project=settings.trace_project)


def _log_end(
    _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | Any
) -> None:
    event(log, LogEvent.UNCAUGHT, error=error, traced=True)
