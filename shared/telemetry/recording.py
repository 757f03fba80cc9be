"""Takes spans and measurements to OpenTelemetry's API: what `signals()` is while telemetry is on.

An exception never gives a span its text, which may quote a user's: only its code or its type. A span may be
begun under an id that follows from what it is about (`identity`), so that the next attempt of a step, in
another process, can link to the one before without a word about it in the message or in Redis.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextvars import Token
from enum import Enum
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.errors import SluiceError
from shared.telemetry.attributes import Attribute
from shared.telemetry.calls import watch
from shared.telemetry.instruments import INSTRUMENTS, Instrument, Measure
from shared.telemetry.signals import Attributes, Signals, Span, Value, Watched
from shared.telemetry.spans import Kind, SpanSpec

_KINDS = {kind: SpanKind[kind.name] for kind in Kind}


class Ids(RandomIdGenerator):
    """Random ids, but for a span that is begun under one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._next = threading.local()

    def choose(self, span_id: int | None) -> None:
        """Give the next span of this thread `span_id`."""
        self._next.span_id = span_id

    def generate_span_id(self) -> int:
        chosen: int | None = getattr(self._next, "span_id", None)
        self._next.span_id = None
        return chosen or super().generate_span_id()


class RecordedSpan(Span):
    """A span that is exported when it ends, if its trace is sampled."""

    __slots__ = ("_failed", "_span", "_token")
    _token: Token[Context]

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._failed = False

    @property
    def traceparent(self) -> str | None:
        at = self._span.get_span_context()
        if not at.is_valid:
            return None
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags & TraceFlags.SAMPLED:02x}"

    def set(self, name: Attribute, value: Value) -> None:
        if value is not None:
            self._span.set_attribute(name.value, _plain(value))

    def fail(self, error: str) -> None:
        self._failed = True
        self.set(Attribute.ERROR, error)
        self._span.set_status(Status(StatusCode.ERROR))

    def __enter__(self) -> Self:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if isinstance(error, SluiceError) and error.status < 500:
            self.set(Attribute.ERROR, error.code)  # the caller's doing: no failure of what the span is about
        elif isinstance(error, Exception) and not self._failed:  # a reader that goes is no failure
            self.fail(error.code if isinstance(error, SluiceError) else type(error).__qualname__)
        self._span.end()


class Recording(Signals):
    """Records by a tracer and a meter.

    Args:
        tracer: makes the spans.
        ids: the tracer's own, which gives ids to them.
        meter: makes the instruments; None: nothing is measured.
        settle: sends what has been taken where nothing runs between two requests.
        end: sends it before the process ends.
    """

    __slots__ = ("_end", "_ids", "_measures", "_settle", "_tracer")
    on = True

    def __init__(
        self,
        tracer: trace.Tracer,
        ids: Ids,
        meter: Meter | None,
        settle: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        self._tracer = tracer
        self._ids = ids
        self._measures: Mapping[str, Callable[..., None]] = (
            {each.name: _made(meter, each) for each in INSTRUMENTS} if meter else {}
        )
        self._settle = settle
        self._end = end

    def span(
        self,
        spec: SpanSpec,
        name: str = "",
        *,
        attributes: Attributes | None = None,
        parent: str | None = None,
        began_ns: int | None = None,
        identity: str = "",
        follows: str = "",
    ) -> Span:
        above, links = _placed(parent)
        here = trace.get_current_span(above).get_span_context()
        if follows and here.is_valid:
            links.append(Link(_context(here.trace_id, span_id_of(follows), here.trace_flags)))
        self._ids.choose(span_id_of(identity) if identity else None)
        span = self._tracer.start_span(
            name or spec.name,
            above,
            _KINDS[spec.kind],
            _plainly(attributes),
            links,
            began_ns,
        )
        return RecordedSpan(span)

    def past(self, spec: SpanSpec, began_ns: int, ended_ns: int, attributes: Attributes) -> None:
        span = self._tracer.start_span(
            spec.name, None, _KINDS[spec.kind], _plainly(attributes), None, began_ns
        )
        span.end(ended_ns)

    def add(self, instrument: Instrument, amount: int = 1, attributes: Attributes | None = None) -> None:
        self.record(instrument, amount, attributes)

    def record(self, instrument: Instrument, value: float, attributes: Attributes | None = None) -> None:
        if measure := self._measures.get(instrument.name):
            measure(value, _plainly(attributes))

    def watched(self, store: Watched) -> Watched:
        return watch(store)

    def settle(self) -> None:
        self._settle()

    def end(self) -> None:
        self._end()


def span_id_of(identity: str) -> int:
    """Return the id of a span that is known by what it is about; never 0, which is no id."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) or 1


def _placed(parent: str | None) -> tuple[Context | None, list[Link]]:
    """Return below what a span stands, None for what is current, and what it links to."""
    remote = _remote(parent)
    current = trace.get_current_span().get_span_context()
    if remote is None or (current.is_valid and current.trace_id == remote.trace_id):
        return None, []
    links = [Link(current)] if current.is_valid else []
    return trace.set_span_in_context(NonRecordingSpan(remote)), links


def _remote(traceparent: str | None) -> SpanContext | None:
    """Parse a `traceparent`, whose shape has been checked (`messages.trace_of`)."""
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    context = _context(int(trace_id, 16), int(span_id, 16), TraceFlags(int(flags, 16) & TraceFlags.SAMPLED))
    return context if context.is_valid else None


def _context(trace_id: int, span_id: int, flags: TraceFlags) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _made(meter: Meter, each: Instrument) -> Callable[..., None]:
    """Make an instrument and return what takes its values."""
    match each.measure:
        case Measure.COUNTER:
            return meter.create_counter(each.name, each.unit, each.meaning).add
        case Measure.UP_DOWN:
            return meter.create_up_down_counter(each.name, each.unit, each.meaning).add
        case Measure.GAUGE:
            return meter.create_gauge(each.name, each.unit, each.meaning).set
        case Measure.HISTOGRAM:
            boundaries = list(each.boundaries)
            histogram = meter.create_histogram(
                each.name, each.unit, each.meaning, explicit_bucket_boundaries_advisory=boundaries
            )
            return histogram.record


def _plainly(attributes: Attributes | None) -> dict[str, Any]:
    return {name.value: _plain(value) for name, value in (attributes or {}).items() if value is not None}


def _plain(value: Value) -> Any:
    return value.value if isinstance(value, Enum) else value
