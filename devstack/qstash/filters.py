"""The filters and pages that the listing calls share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from devstack.qstash.message import Json

_EQUAL = {
    name: name
    for name in (
        *("messageId", "url", "queueName", "scheduleId", "responseStatus"),
        *("label", "flowControlKey", "state"),
    )
} | {"callerIp": "callerIP"}
"""The field of a row by the name of its filter."""


def matcher(query: Mapping[str, str], time_field: str) -> Callable[[Json], bool]:
    """Return a test for rows that `query` asks for; its dates compare with `time_field` (ms)."""
    wanted = {field: query[name] for name, field in _EQUAL.items() if name in query}
    since, until = float(query.get("fromDate", 0)), float(query.get("toDate", "inf"))

    def matches(row: Json) -> bool:
        if any(str(row.get(name)) != value for name, value in wanted.items()):
            return False
        return since <= float(row[time_field]) <= until

    return matches


def page(rows: Sequence[Json], query: Mapping[str, str], *, limit: int) -> tuple[list[Json], str | None]:
    """Return the page that `query` asks for and the cursor of the next, None after the last."""
    start, count = int(query.get("cursor") or 0), min(int(query.get("count") or limit), limit)
    end = start + count
    return list(rows[start:end]), str(end) if end < len(rows) else None
