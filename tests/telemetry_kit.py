"""Telemetry that stays in this process: what was said, to look at, by the SDK's own exporters for tests."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, StaticSampler

from shared.settings import TelemetrySettings
from shared.telemetry.exporting import open_recording
from shared.telemetry.instruments import Instrument
from shared.telemetry.recording import Ids, Recording
from shared.telemetry.signals import held


@dataclass(frozen=True, slots=True)
class Memory:
    """What was said so far."""

    recording: Recording
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    ended: list[bool]
    """One for each time that the last was to be sent."""

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    def values(self, instrument: Instrument) -> dict[frozenset[tuple[str, object]], float]:
        """Return the values of an instrument by attributes; of a histogram how many there are."""
        data = self.reader.get_metrics_data()
        found: dict[frozenset[tuple[str, object]], float] = {}
        for of_process in data.resource_metrics if data else ():
            for metric in (metric for scope in of_process.scope_metrics for metric in scope.metrics):
                if metric.name == instrument.name:
                    for point in metric.data.data_points:
                        told: Mapping[str, object] = point.attributes or {}
                        value = getattr(point, "value", None)
                        found[frozenset(told.items())] = point.count if value is None else value  # type: ignore[union-attr]
        return found


def recording_to(settings: TelemetrySettings) -> Recording:
    """Return what sends to a collector until the test is over: nothing is waited for when the tests end."""
    recording = open_recording(settings, "paid_batch")
    atexit.unregister(recording.end)
    return recording


@contextmanager
def remembering(*, sampled: bool = True) -> Iterator[Memory]:
    """Take what this process says while the block runs.

    Args:
        sampled: whether traces that begin here are kept.
    """
    ids, exporter, reader = Ids(), InMemorySpanExporter(), InMemoryMetricReader()
    decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
    provider = TracerProvider(ParentBased(StaticSampler(decision)), shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("tests")
    ended: list[bool] = []
    recording = Recording(provider.get_tracer("tests"), ids, meter, lambda: None, lambda: ended.append(True))
    memory = Memory(recording, exporter, reader, ended)
    with held(memory.recording):
        yield memory
