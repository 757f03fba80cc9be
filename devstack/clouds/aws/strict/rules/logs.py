"""Log groups are kept for one of the durations that CloudWatch Logs knows. moto takes any number."""

from __future__ import annotations

from typing import Final

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule

_DAYS: Final = frozenset(
    (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)


@rule(
    "logs",
    "PutRetentionPolicy",
    document="CloudWatch Logs API Reference, PutRetentionPolicy: retentionInDays",
)
def retention(call: Call, proceed: Proceed) -> Answer:
    """A retention is one of the listed numbers of days."""
    days = call.params["retentionInDays"]
    if days not in _DAYS:
        message = (
            f"1 validation error detected: Value '{days}' at 'retentionInDays' is not one of {sorted(_DAYS)}"
        )
        raise call.refusal("InvalidParameterException", message)
    return proceed()
