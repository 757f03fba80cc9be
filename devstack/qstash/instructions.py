"""What a publisher's headers ask for: `Upstash-*` are instructions, others stay behind unless it says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.qstash.durations import parse_duration_seconds
from devstack.qstash.flow import FlowControl, parse_flow_control
from devstack.qstash.retry_delay import evaluate_ms

DEFAULT_RETRIES = 3
LONGEST_DELIVERY_SECONDS = 900.0
"""The free plan's limit; a publisher can only shorten it."""

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH"})
_FORWARD = "upstash-forward-"
_CALLBACK = "upstash-callback-"
_FAILURE_CALLBACK = "upstash-failure-callback-"


@dataclass(frozen=True, slots=True)
class Instructions:
    method: str = "POST"
    forward: Mapping[str, str] = field(default_factory=dict)
    """Headers for the destination, names in lower case; `content-type` is among them."""
    retries: int = DEFAULT_RETRIES
    retry_delay: str | None = None
    delay_seconds: float = 0.0
    not_before_seconds: float | None = None
    timeout_seconds: float = LONGEST_DELIVERY_SECONDS
    deduplication_id: str | None = None
    content_based_deduplication: bool = False
    flow: FlowControl | None = None
    label: str | None = None
    callback: str | None = None
    failure_callback: str | None = None
    callback_headers: Mapping[str, str] = field(default_factory=dict)
    """Instructions for the callback's own message, as headers without `callback-`."""
    failure_callback_headers: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    """The headers that all of this was parsed from."""

    def as_json(self) -> dict[str, Any]:
        """Return what management calls show of it; absent means unset, as the SDK expects."""
        shown = {
            "method": self.method,
            "maxRetries": self.retries,
            "header": header_lists(self.forward),
            "retryDelayExpression": self.retry_delay,
            "callback": self.callback,
            "failureCallback": self.failure_callback,
            "callbackHeader": header_lists(self.callback_headers) or None,
            "failureCallbackHeader": header_lists(self.failure_callback_headers) or None,
            "label": self.label,
        } | self._flow_as_json()
        return {name: value for name, value in shown.items() if value is not None}

    def _flow_as_json(self) -> dict[str, Any]:
        if self.flow is None:
            return {}
        return {
            "flowControlKey": self.flow.key,
            "parallelism": self.flow.parallelism,
            "rate": self.flow.rate,
            "period": round(self.flow.period_seconds),
        }


def parse_instructions(headers: Mapping[str, str]) -> Instructions:
    """Parse a publish's headers (names in lower case).

    Raises:
        ValueError: one of them is malformed; the text is fit for QStash's answer.
    """
    expression = headers.get("upstash-retry-delay")
    if expression is not None:
        evaluate_ms(expression, 0)
    flow_key = headers.get("upstash-flow-control-key")
    not_before = headers.get("upstash-not-before")
    return Instructions(
        method=_method(headers.get("upstash-method", "POST")),
        forward=_forwarded(headers),
        retries=_whole(headers, "upstash-retries", DEFAULT_RETRIES),
        retry_delay=expression,
        delay_seconds=parse_duration_seconds(headers.get("upstash-delay", "0s")),
        not_before_seconds=float(not_before) if not_before is not None else None,
        timeout_seconds=_timeout_seconds(headers.get("upstash-timeout")),
        deduplication_id=headers.get("upstash-deduplication-id"),
        content_based_deduplication=headers.get("upstash-content-based-deduplication", "").lower() == "true",
        flow=parse_flow_control(flow_key, headers.get("upstash-flow-control-value", ""))
        if flow_key
        else None,
        label=headers.get("upstash-label"),
        callback=_callback_url(headers, "upstash-callback"),
        failure_callback=_callback_url(headers, "upstash-failure-callback"),
        callback_headers=_with_prefix(headers, _CALLBACK, "upstash-"),
        failure_callback_headers=_with_prefix(headers, _FAILURE_CALLBACK, "upstash-"),
        given={name: headers[name] for name in headers if _is_instruction(name)},
    )


def check_destination(url: str) -> str:
    """Return `url` if a message can be sent there.

    Raises:
        ValueError: with QStash's own words.
    """
    if not re.match(r"https?://[^/?#]", url, re.IGNORECASE):
        raise ValueError(
            "invalid destination url: endpoint has invalid scheme, add http:// or https://"
            if "://" not in url or not url.lower().startswith("http")
            else "invalid destination url: no host"
        )
    return url


def header_lists(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Return headers as QStash shows them: canonical names, each with a list of values."""
    return {name.title(): [value] for name, value in headers.items()}


def _is_instruction(name: str) -> bool:
    return name.startswith("upstash-") or name == "content-type"


def _method(name: str) -> str:
    if name.upper() not in _METHODS:
        raise ValueError(f"invalid method: {name!r}")
    return name.upper()


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    # Forwarded ones win: a batch item may have its type only among them.
    own = {"content-type": headers["content-type"]} if "content-type" in headers else {}
    return own | _with_prefix(headers, _FORWARD, "")


def _with_prefix(headers: Mapping[str, str], prefix: str, replacement: str) -> dict[str, str]:
    found = {name: value for name, value in headers.items() if name.startswith(prefix)}
    return {replacement + name.removeprefix(prefix): value for name, value in found.items()}


def _whole(headers: Mapping[str, str], name: str, default: int) -> int:
    text = headers.get(name, str(default)).strip()
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _timeout_seconds(text: str | None) -> float:
    if text is None:
        return LONGEST_DELIVERY_SECONDS
    return min(parse_duration_seconds(text), LONGEST_DELIVERY_SECONDS)


def _callback_url(headers: Mapping[str, str], name: str) -> str | None:
    url = headers.get(name)
    return check_destination(url) if url is not None else None
