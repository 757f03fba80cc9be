"""What a function says of its work while it does it, and by default nobody hears.

    with signals().span(ADMIT, attributes={…}) as span:        signals().add(ADMISSIONS, attributes={…})
        span.set(OUTCOME, "accepted")

Off, which is how a process begins, every call ends in a method that does nothing and a span that is the
same for all: nothing of OpenTelemetry is imported. `shared.telemetry.beginning` puts a `Recording` in its
place. It is held here for the whole process, as `logging` holds what is logged to, and for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from shared.telemetry.attributes import Attribute
from shared.telemetry.instruments import Instrument
from shared.telemetry.spans import SpanSpec

Value = str | bool | int | float | Sequence[str] | None
"""What an attribute may be; None is left out."""
Attributes = Mapping[Attribute, Value]
Watched = TypeVar("Watched")


class Span:
    """A span that nobody records. As a context manager it is the parent of what is begun within it."""

    __slots__ = ()

    @property
    def traceparent(self) -> str | None:
        """The span as a W3C `traceparent`, for a message or a record to carry; None: there is none."""
        return None

    def set(self, name: Attribute, value: Value) -> None:
        """Say one thing more."""

    def fail(self, error: str) -> None:
        """Mark it as failed, by a public code."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it. An exception that passes marks it as failed: by code or type, never by text."""


NOBODYS = Span()


class Signals:
    """Takes spans and measurements; this one takes none."""

    __slots__ = ()
    on = False
    """Whether anything is recorded: what costs more than a call to find out may ask first."""

    def span(
        self,
        spec: SpanSpec,  # noqa: ARG002 - the recording one's, as all that follow
        name: str = "",  # noqa: ARG002
        *,
        attributes: Attributes | None = None,  # noqa: ARG002
        parent: str | None = None,  # noqa: ARG002
        began_ns: int | None = None,  # noqa: ARG002
        identity: str = "",  # noqa: ARG002
        follows: str = "",  # noqa: ARG002
    ) -> Span:
        """Begin a span, to be entered at once.

        Args:
            spec: which of `SPANS` it is.
            name: its name, if the spec's own has a `{…}` in it.
            attributes: what is known of it by now.
            parent: the `traceparent` of the task; what is current stands above it only within the same trace,
                and is linked to otherwise.
            began_ns: when it began, if before now, in ns since the epoch.
            identity: what makes it known without being told: whoever names the same within the same trace
                means this span.
            follows: the identity of another span of this trace, which it links to.
        """
        return NOBODYS

    def past(self, spec: SpanSpec, began_ns: int, ended_ns: int, attributes: Attributes) -> None:
        """Take a span that is over, below the current one; times in ns since the epoch."""

    def add(self, instrument: Instrument, amount: int = 1, attributes: Attributes | None = None) -> None:
        """Count."""

    def record(self, instrument: Instrument, value: float, attributes: Attributes | None = None) -> None:
        """Measure."""

    def watched(self, store: Watched) -> Watched:
        """Return a store whose commands are counted for whatever is under way, or the store itself."""
        return store

    def settle(self) -> None:
        """Send what has been taken where nothing runs between two requests; returns within moments."""

    def end(self) -> None:
        """Send what has been taken before the process ends; returns within a second."""


_OFF = Signals()
_held = [_OFF]


def signals() -> Signals:
    """Return who listens in this process."""
    return _held[0]


def hold(listener: Signals) -> None:
    """Make `listener` the one of this process."""
    _held[0] = listener


@contextmanager
def held(listener: Signals) -> Iterator[Signals]:
    """Make `listener` the one of this process for a while."""
    former = _held[0]
    hold(listener)
    try:
        yield listener
    finally:
        hold(former)
