"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP, keeps what came, and fails on command.

with Collector() as collector:      OTEL_EXPORTER_OTLP_ENDPOINT=collector.url

python -m devstack.collector        prints each trace as a tree, for whoever has no collector at hand
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.serving import AppServer

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
HANG_SECONDS = 60.0


class Fault(StrEnum):
    """What the collector does instead of taking what comes."""

    HANGS = "hangs"
    ANSWERS_500 = "500"
    ANSWERS_400 = "400"


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """One span as it came."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    """Trace and span that it links to."""
    failed: bool
    said: str
    """The text of its status, and of its events: ours have neither."""
    began_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class CollectedPoint:
    """One value of an instrument; of a histogram the sum, and how many values it has."""

    service: str
    name: str
    unit: str
    attributes: Mapping[str, Any]
    value: float
    count: int
    boundaries: tuple[float, ...] = ()


@dataclass
class Collector:
    """Keeps what came, oldest first. A context manager: it listens while it is open."""

    port: int = 0
    fault: Fault | None = None
    requests: int = 0
    """How many came, those that were not taken too."""
    spans: list[CollectedSpan] = field(default_factory=list)
    points: list[CollectedPoint] = field(default_factory=list)
    """Of each instrument, process and set of attributes what came last, at the end."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """The bodies, unpacked: what must not be in them is searched for here."""

    def __post_init__(self) -> None:
        self._came = threading.Condition()
        self._released = threading.Event()
        routes = [Route(f"/v1/{each}", self._take, methods=["POST"]) for each in ("traces", "metrics")]
        self._server = AppServer(Starlette(routes=routes), name="collector", port=self.port)

    @property
    def url(self) -> str:
        return self._server.origin

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shut()

    def wait_for(self, enough: Any, seconds: float = 30.0) -> None:
        """Return when `enough()` is true, asked whenever something came.

        Raises:
            TimeoutError: it did not become true; the text names the spans that came.
        """
        with self._came:
            if not self._came.wait_for(enough, seconds):
                raise TimeoutError(f"not within {seconds} s; there are {[span.name for span in self.spans]}")

    def take(self) -> list[CollectedSpan]:
        """Return the spans that have come, and forget all that has."""
        with self._came:
            spans, self.spans = self.spans, []
            for each in (self.points, self.headers, self.raw):
                each.clear()
        return spans

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._came:
            self.requests += 1
            self.headers.append(dict(request.headers))
            if self.fault is None:
                self._keep(request.url.path, body)
            self._came.notify_all()
        if self.fault is Fault.HANGS:
            await asyncio.to_thread(self._released.wait, HANG_SECONDS)
        return Response(status_code=int(self.fault) if self.fault and self.fault.isdigit() else 200)

    def _keep(self, path: str, body: bytes) -> None:
        self.raw.append(body)
        if path.endswith("traces"):
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        else:
            self.points += _points(ExportMetricsServiceRequest.FromString(body))


def _spans(request: Any) -> Iterator[CollectedSpan]:
    for of_process in request.resource_spans:
        service = _plain(of_process.resource.attributes).get("service.name", "")
        for span in (span for scope in of_process.scope_spans for span in scope.spans):
            yield CollectedSpan(
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                name=span.name,
                kind=KINDS[span.kind],
                service=service,
                attributes=_plain(span.attributes),
                links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                said=" ".join([span.status.message, *(str(event) for event in span.events)]).strip(),
                began_ns=span.start_time_unix_nano,
                ended_ns=span.end_time_unix_nano,
            )


def _points(request: Any) -> Iterator[CollectedPoint]:
    for of_process in request.resource_metrics:
        service = _plain(of_process.resource.attributes).get("service.name", "")
        for metric in (metric for scope in of_process.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            for point in getattr(metric, kind).data_points:
                histogram = kind == "histogram"
                value = point.sum if histogram else (point.as_double or point.as_int)
                yield CollectedPoint(
                    service=service,
                    name=metric.name,
                    unit=metric.unit,
                    attributes=_plain(point.attributes),
                    value=value,
                    count=point.count if histogram else 1,
                    boundaries=tuple(point.explicit_bounds) if histogram else (),
                )


def _plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def tree(spans: Sequence[CollectedSpan]) -> list[str]:
    """Return the spans of one trace as lines, each below its parent, in the order in which they began."""
    known = {span.span_id for span in spans}
    began = min(span.began_ns for span in spans)

    def lines(parent_id: str, depth: int) -> Iterator[str]:
        children = [span for span in spans if span.parent_id == parent_id]
        if not depth:
            children = [span for span in spans if span.parent_id not in known]
        for span in sorted(children, key=lambda span: span.began_ns):
            yield _line(span, depth, began)
            yield from lines(span.span_id, depth + 1)

    return list(lines("", 0))


def _line(span: CollectedSpan, depth: int, began: int) -> str:
    at_ms, took_ms = (span.began_ns - began) / 1e6, (span.ended_ns - span.began_ns) / 1e6
    end = span.attributes.get("error.type") or span.attributes.get("sluice.outcome") or ""
    name = f"{'  ' * depth}{'✗ ' if span.failed else ''}{span.name}"
    return f"{at_ms:9.0f} ms  {took_ms:8.0f} ms  {name:<48} {span.service:<12} {end}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each trace when nothing more has come of it for a second, until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.collector",
        description="Take traces by OTLP over HTTP and print each as a tree: when a span began, how long it "
        "took, its name, who made it, what it came to.",
    )
    parser.add_argument(
        "port", nargs="?", type=int, default=4318, help="where to listen on 127.0.0.1 (default: 4318; 0: any)"
    )
    options = parser.parse_args(arguments)
    try:
        with Collector(options.port) as collector:
            print(f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url} make up", flush=True)
            _print_traces(collector)
    except OSError as error:
        print(f"collector: port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nended")
    return 0


def _print_traces(collector: Collector) -> None:
    waiting: dict[str, list[CollectedSpan]] = {}
    while True:
        time.sleep(1)
        came = collector.take()
        for trace_id in [each for each in waiting if not any(span.trace_id == each for span in came)]:
            print(f"\ntrace {trace_id}", *tree(waiting.pop(trace_id)), sep="\n", flush=True)
        for span in came:
            waiting.setdefault(span.trace_id, []).append(span)


if __name__ == "__main__":
    sys.exit(main())
