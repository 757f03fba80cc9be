"""The invariant of the logs: nothing happened that the functions do not know how to take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from devstack.soak.finding import Finding, Problem

_BAD = {"ERROR", "CRITICAL"}
_EXPECTED = {"publish_failed"}
"""What is an error for its user and no defect: a provider of ours was away, and everything was given back."""


def check_logs(logs: Mapping[str, str]) -> Finding:
    """Look for errors in what each function has logged, one JSON object a line."""
    lines = sum(log.count("\n") for log in logs.values())
    return Finding.of("no function met an error it does not know", f"{lines} lines", _errors(logs))


def _errors(logs: Mapping[str, str]) -> Iterator[Problem]:
    for name, log in logs.items():
        for line in log.splitlines():
            told = _parsed(line)
            if told.get("severity") in _BAD and told.get("event") not in _EXPECTED:
                yield Problem(f"{name}: {line}")


def _parsed(line: str) -> Mapping[str, Any]:
    """Return a line's facts. One that is not JSON is an interpreter's last words: nothing else writes so."""
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"severity": "CRITICAL"}
