"""The invariant that the operators' own tool checks: what Redis keeps is what the task records say."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from devstack.soak.finding import Finding, Problem
from devstack.stack import Stack
from shared.config import load_reconciliation
from shared.state.reconciliation import reconcile

CLAIM = "scripts/sluice reconcile finds no difference"


def check_reconciliation(stack: Stack, settings: Mapping[str, str]) -> Finding:
    """Reconcile, repairing nothing."""
    loaded = load_reconciliation({"REDIS_URL": stack.redis_url, **settings})
    with contextlib.closing(stack.open_store()) as store:
        report = reconcile(store, concurrency=loaded.concurrency, time=loaded.time, stream=loaded.stream)
    told = ", ".join(f"{count} {what}" for what, count in report.checked.items())
    problems = [Problem(f"{each.kind}: {each.what}") for each in report.differences]
    return Finding.of(CLAIM, told, problems)
