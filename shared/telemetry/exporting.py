"""Sends spans and measurements to a collector by OTLP over HTTP, and never lets one hold up a task.

    span ends ─▶ queue ─▶ the SDK's thread ─▶ Patience ─▶ OTLP         full, or the collector is away: dropped

Threads are started here, so it is called in the process that uses them: after the web server's fork. Where
a platform lets nothing run between two requests, `settle` sends what there is before an answer goes out, and
waits for it no longer than it is told; a collector that failed is not waited for until it is tried again.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NoOpTracer, Tracer

from shared.logs import LogEvent, event
from shared.settings import PARENT_BASED, TelemetrySettings
from shared.telemetry.recording import Ids, Recording

log = logging.getLogger(__name__)
SCOPE = "sluice"
EXPORT_SECONDS = 3.0
"""How long one batch is tried."""
EVERY_SECONDS = 2.0
"""How often spans are sent."""
QUEUE_SPANS, BATCH_SPANS = 4096, 512
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 120.0
Send = Callable[[], object]
CLOSE_SECONDS = 1.0
"""How long a process that ends waits for its last spans."""


class Patience:
    """Decides whether a collector is tried: one that failed is left alone for a while, longer each time."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._pause_seconds = 0.0
        self._again_at = 0.0

    @property
    def tries(self) -> bool:
        return self._clock() >= self._again_at

    def tell(self, *, taken: bool) -> None:
        """Note how an export ended; the log hears of the first failure and of the end of all."""
        if taken:
            if self._pause_seconds:
                event(log, LogEvent.COLLECTOR_BACK, signal=self._what)
            self._pause_seconds = 0.0
            return
        if not self._pause_seconds:
            event(log, LogEvent.COLLECTOR_AWAY, signal=self._what)
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, max(PAUSE_SECONDS, self._pause_seconds * 2))
        self._again_at = self._clock() + self._pause_seconds


class PatientSpans(SpanExporter):
    """Exports spans while the collector takes them, else drops them."""

    def __init__(self, exporter: SpanExporter, patience: Patience) -> None:
        self._exporter = exporter
        self._patience = patience

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self._patience.tries:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        self._patience.tell(taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class PatientMetrics(MetricExporter):
    """Exports measurements while the collector takes them; cumulative ones are told again next time."""

    def __init__(
        self, exporter: MetricExporter, patience: Patience, temporality: Mapping[type, AggregationTemporality]
    ) -> None:
        super().__init__(preferred_temporality=dict(temporality))
        self._exporter = exporter
        self._patience = patience

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        if not self._patience.tries:
            return MetricExportResult.FAILURE
        result = self._exporter.export(metrics_data, timeout_millis)
        self._patience.tell(taken=result is MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self._exporter.shutdown(timeout_millis)


class Settling:
    """Has what was taken sent in a thread, one at a time, and waits for it only so long."""

    def __init__(self, send: Send, worthwhile: Callable[[], bool] = lambda: True) -> None:
        self._send = send
        self._worthwhile = worthwhile
        self._turn = threading.Lock()

    def settle(self, seconds: float) -> None:
        """Return when what has been taken is sent, or `seconds` have passed; at once when it is of no use."""
        until = time.monotonic() + seconds
        if seconds <= 0 or not self._worthwhile() or not self._turn.acquire(timeout=seconds):
            return
        sent = threading.Event()
        threading.Thread(target=self._run, args=(sent,), name="telemetry-settle", daemon=True).start()
        sent.wait(max(0.0, until - time.monotonic()))

    def _run(self, sent: threading.Event) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - whatever it is, no task may hear of it
            event(log, LogEvent.TELEMETRY_FAILED, error=type(error).__name__)
        finally:
            self._turn.release()
            sent.set()


def open_recording(settings: TelemetrySettings, function: str) -> Recording:
    """Return what takes this process's signals, and have them sent from now on, to the process's end.

    Args:
        settings: where to, and how much.
        function: the function's name, which is the service's.
    """
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # `Patience` says it, once
    resource, ids = _resource(settings, function), Ids()
    tracer, send_spans, wanted = _tracing(settings, resource, ids)
    meter, send_metrics = _metering(settings, resource)
    ending = Settling(lambda: _all(send_spans, send_metrics))
    seldom = _seldom(send_metrics, settings.metric_interval_seconds)
    settling = Settling(lambda: _all(send_spans, seldom), wanted)
    recording = Recording(
        tracer,
        ids,
        meter,
        settle=lambda: settling.settle(settings.settle_seconds),
        end=lambda: ending.settle(CLOSE_SECONDS),
    )
    atexit.register(recording.end)
    return recording


def _tracing(
    settings: TelemetrySettings, resource: Resource, ids: Ids
) -> tuple[Tracer, Send, Callable[[], bool]]:
    """Return a tracer, what sends its spans at once, and whether that is of any use now."""
    if settings.traces_url is None:
        return NoOpTracer(), lambda: None, lambda: True
    patience = Patience("traces")
    exporter = OTLPSpanExporter(
        settings.traces_url,
        headers=dict(settings.headers),
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
        session=_session(),
    )
    processor = BatchSpanProcessor(
        PatientSpans(exporter, patience),
        max_queue_size=QUEUE_SPANS,
        schedule_delay_millis=EVERY_SECONDS * 1000,
        max_export_batch_size=BATCH_SPANS,
    )
    provider = TracerProvider(_sampler(settings), resource, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(processor)
    return provider.get_tracer(SCOPE), processor.force_flush, lambda: patience.tries


def _metering(settings: TelemetrySettings, resource: Resource) -> tuple[Meter | None, Send]:
    """Return a meter and what sends its measurements at once."""
    if settings.metrics_url is None:
        return None, lambda: None
    exporter = OTLPMetricExporter(
        settings.metrics_url,
        headers=dict(settings.headers),
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
        session=_session(),
    )
    reader = PeriodicExportingMetricReader(
        PatientMetrics(exporter, Patience("metrics"), _temporality(settings)),
        export_interval_millis=settings.metric_interval_seconds * 1000,
        export_timeout_millis=EXPORT_SECONDS * 1000,
    )
    return MeterProvider([reader], resource, shutdown_on_exit=False).get_meter(SCOPE), reader.force_flush


def _session() -> requests.Session:
    """Return a connection that takes no proxy and no password from the machine it runs on."""
    session = requests.Session()
    session.trust_env = False
    return session


def _resource(settings: TelemetrySettings, function: str) -> Resource:
    return Resource(
        {
            **settings.resource,
            "service.namespace": SCOPE,
            "service.name": function,
            "service.instance.id": uuid.uuid4().hex,
            "deployment.environment.name": settings.env.value,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": version("opentelemetry-sdk"),
        }
    )


def _sampler(settings: TelemetrySettings) -> Sampler:
    """Return the sampler; by default the caller's flag decides, and a trace that begins here is kept."""
    name = settings.sampler.removeprefix(PARENT_BASED)
    roots = {
        "always_on": ALWAYS_ON,
        "always_off": ALWAYS_OFF,
        "traceidratio": TraceIdRatioBased(settings.ratio),
    }
    return ParentBased(roots[name]) if settings.sampler.startswith(PARENT_BASED) else roots[name]


def _temporality(settings: TelemetrySettings) -> dict[type, AggregationTemporality]:
    if not settings.delta:
        return {}
    return {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}


def _seldom(send: Send, seconds: float) -> Send:
    """Return `send`, which does nothing until `seconds` have passed since it last did something."""
    sent_at = -math.inf

    def send_if_due() -> None:
        nonlocal sent_at
        if time.monotonic() - sent_at >= seconds:
            sent_at = time.monotonic()
            send()

    return send_if_due


def _all(*sends: Send) -> None:
    for send in sends:
        send()
