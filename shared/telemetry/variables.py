"""Reads whether and where a function sends traces and metrics: OpenTelemetry's own variables, those we know.

Unset, which is the default, there is nothing to read and nothing is imported. What the variables ask for
must be installed: a function that was told where to send its traces and cannot does not start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from urllib.parse import unquote

from shared.settings import PARENT_BASED, Env, TelemetrySettings
from shared.variables import Variables

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_ROOTS = ("always_on", "always_off", "traceidratio")
_SAMPLERS = (*(f"{PARENT_BASED}{root}" for root in _ROOTS), *_ROOTS)


def is_installed() -> bool:
    """Tell whether the optional packages are there; imports no more than the folders they stand in."""
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:
        return False


def read_telemetry(
    v: Variables, env: Env, *, installed: Callable[[], bool] = is_installed
) -> TelemetrySettings | None:
    """Read what is to be sent, and where to; None when nothing is. Problems are `v`'s."""
    disabled = v.choice("OTEL_SDK_DISABLED", "false", ("false", "true")) == "true"
    traces_url, metrics_url = _urls(v)
    settings = TelemetrySettings(
        env=env,
        traces_url=traces_url,
        metrics_url=metrics_url,
        headers=_pairs(v, HEADERS),
        resource=_pairs(v, RESOURCE),
        sampler=v.choice("OTEL_TRACES_SAMPLER", _SAMPLERS[0], _SAMPLERS),
        ratio=_ratio(v),
        delta=v.choice(TEMPORALITY, "cumulative", ("cumulative", "delta")) == "delta",
        metric_interval_seconds=v.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
        settle_seconds=v.number("TELEMETRY_SETTLE_MS", 0, zero=True) / 1000,
    )
    if disabled or not (traces_url or metrics_url):
        return None
    if not installed():
        v.problems.append(
            f"{ENDPOINT} (or its variable of one signal) is set, but OpenTelemetry is not installed: say "
            "`telemetry = true` in the environment's file, or install requirements/telemetry.txt"
        )
    return settings


def _urls(v: Variables) -> tuple[str | None, str | None]:
    """Return where traces and metrics go: their own addresses, else below the common one."""
    base = (v.url(ENDPOINT) if v.optional(ENDPOINT) else "").rstrip("/")
    own = {
        signal: v.url(name) if v.optional(name := f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") else ""
        for signal in ("traces", "metrics")
    }
    traces, metrics = (own[signal] or (f"{base}/v1/{signal}" if base else None) for signal in own)
    return traces, metrics


def _pairs(v: Variables, name: str) -> Mapping[str, str]:
    """Read `name=value,…`, values percent-encoded; a problem never shows one: it may be a collector's key."""
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in (v.optional(name) or "").split(","))):
        key, equals, value = part.partition("=")
        if not (equals and key.strip()):
            v.problems.append(f"{name} must be like name=value,other=value")
            return MappingProxyType({})
        pairs[key.strip()] = unquote(value.strip())
    return MappingProxyType(pairs)


def _ratio(v: Variables) -> float:
    name = "OTEL_TRACES_SAMPLER_ARG"
    ratio = v.number(name, 1, zero=True)
    if ratio > 1:
        v.problems.append(f"{name} must be a share from 0 to 1, not {ratio!r}")
        return 1.0
    return ratio
