"""When a failed message is delivered again.

The answer's `Retry-After` (or rate-limit reset) decides; else the publisher's expression; else the documented
back-off: 12 s, 2 min 28 s, 30 min 8 s, 6 h 7 min, 24 h. All in QStash's seconds, before the time scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from devstack.qstash.durations import parse_reset_seconds
from devstack.qstash.retry_delay import evaluate_ms

DAY_SECONDS = 86_400.0
_RESET_HEADERS = (
    "retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
)  # fmt: skip


def default_backoff_seconds(retried: int) -> float:
    """Return the delay before retry number `retried` + 1: `min(86400, e^(2.5·n))`."""
    return DAY_SECONDS if retried > 3 else min(DAY_SECONDS, math.exp(2.5 * (retried + 1)))


def next_delay_seconds(
    answer_headers: Mapping[str, str], expression: str | None, retried: int, now_seconds: float
) -> float:
    """Return the delay after a failed delivery whose answer had `answer_headers` (lower-case names)."""
    for name in _RESET_HEADERS:
        asked = parse_reset_seconds(answer_headers.get(name, ""), now_seconds)
        if asked is not None and asked <= DAY_SECONDS:
            return asked
    if expression is not None:
        return evaluate_ms(expression, retried) / 1000
    return default_backoff_seconds(retried)
