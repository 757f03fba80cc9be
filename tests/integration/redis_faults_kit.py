"""What the tests of Redis's faults share: a state without its times and ids, so that two runs can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from shared.state.erasure import erase_user
from shared.state.quota import Granted, grant
from tests.integration.test_transitions_twice import CASES as TRANSITIONS
from tests.integration.test_transitions_twice import Twice
from tests.integration.transitions_kit import Bench


def _grant(bench: Bench) -> Callable[[], Granted]:
    return lambda: grant(bench.store, "u1", 5, "reference", initial=bench.initial_quota)


def _forget(bench: Bench) -> Callable[[], str]:
    job = bench.admit(service_fields={"userId": "u1"}, idempotency_key="k")
    bench.tasks.cancel(job.ref)
    return lambda: "busy" if erase_user(bench.store, "u1") is None else "done"


CASES = [
    *TRANSITIONS,
    Twice("grant_quota", _grant, "granted", "replay"),
    Twice("forget_user", _forget, "done", "done"),
]
"""Every transition there is, brought to where it applies."""


def name_of(case: Twice) -> str:
    return f"{case.script}-{case.first}-{case.prepare.__name__.strip('_')}"


each_case = pytest.mark.parametrize("case", CASES, ids=name_of)
each_refusal = pytest.mark.parametrize(
    "error",
    [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ],
    ids=lambda error: error.split()[0],
)
_VOLATILE = (
    (r"\b([ts])[0-9a-f]{12}\b", r"\1"),
    (r"\b[0-9a-f]{32}\b", "N"),
    (r"\b\d{13}(-\d+)?(\.\d+)?\b", "T"),
    (r'("waitedMs": )"\d+"', r"\1W"),
    (r'(\\"etaSeconds\\":)(\d+|null)', r"\1E"),
    (r'(:ms": )"[\d.]+"', r"\1R"),
    (r'\\"(waitedMs|runMs|latencyMs)\\":\d+', r"\1"),
)


def shape(bench: Bench) -> str:
    """Return all that Redis holds but times, measured rates and the ids of tasks and services."""
    text = json.dumps(bench.dump(), indent=1, sort_keys=True, ensure_ascii=False)
    for pattern, name in _VOLATILE:
        text = re.sub(pattern, name, text)
    return text


def status_of(answer: Any) -> str:
    return str(getattr(answer, "status", answer))
