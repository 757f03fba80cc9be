"""The durations that travel in headers: Go's notation (`1h30m`, QStash adds `d`), plain seconds, dates."""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime

_UNIT_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")


def parse_duration_seconds(text: str) -> float:
    """Parse `10s`, `1d1h30m` or a plain number of seconds.

    Raises:
        ValueError: it is neither, or it is negative.
    """
    text = text.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"invalid duration: {text!r}")
    return math.fsum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def parse_reset_seconds(text: str, now_seconds: float) -> float | None:
    """Parse a `Retry-After` or `X-RateLimit-Reset`: seconds, a date or a duration; None if neither."""
    try:
        return parse_duration_seconds(text)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_seconds)
    except ValueError:
        return None
