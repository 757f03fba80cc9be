"""The invariant of the logs: nothing happened that the functions do not know how to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from devstack.soak.finding import Finding, Problem

_EXPECTED = ("could not be confirmed",)
"""What is logged with its traceback though it is known: Redis went away just after a publish."""


def check_logs(logs: Mapping[str, str]) -> Finding:
    """Look for errors in what each function has logged."""
    lines = sum(log.count("\n") for log in logs.values())
    return Finding.of("no function met an error it does not know", f"{lines} lines", _errors(logs))


def _errors(logs: Mapping[str, str]) -> Iterator[Problem]:
    for name, log in logs.items():
        for line in log.splitlines():
            if line.startswith(("ERROR", "CRITICAL")) and not any(known in line for known in _EXPECTED):
                yield Problem(f"{name}: {line}")
