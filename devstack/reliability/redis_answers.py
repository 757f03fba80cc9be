"""Redis answers that it cannot work now: running tasks wait for it, new ones are told when to come back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from devstack.reliability.midstream import in_mid_stream, proxy_of, settle
from devstack.reliability.subjects import Subject
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Trial
from devstack.stack import Stack


def run_refusing(stack: Stack, tally: Tally, effort: Effort) -> None:
    for _ in range(effort.rounds):
        for refusing in (_read_only, _loading, _full):
            tasks = in_mid_stream(stack)
            newcomer = Subject(stack, "newcomer")
            with refusing(stack):
                tally.problems += refused_now(newcomer)
            tally.problems += _accepted(newcomer)
            settle(stack, tally, tasks)


@contextlib.contextmanager
def _read_only(stack: Stack) -> Iterator[None]:
    """Make Redis the replica of nobody."""
    with contextlib.closing(stack.open_store()) as store:
        store.command("REPLICAOF", "127.0.0.1", 1)
        try:
            yield
        finally:
            store.command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def _loading(stack: Stack) -> Iterator[None]:
    proxy_of(stack).answer("", "LOADING Redis is loading the dataset in memory", times=None)
    try:
        yield
    finally:
        proxy_of(stack).heal()


@contextlib.contextmanager
def _full(stack: Stack) -> Iterator[None]:
    """Leave Redis no memory, nor anything that it might evict."""
    with contextlib.closing(stack.open_store()) as store:
        store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.command("CONFIG", "SET", "maxmemory", 1)
        try:
            yield
        finally:
            store.command("CONFIG", "SET", "maxmemory", 0)


def refused_now(someone: Subject) -> list[Problem]:
    """Ask for something that Redis cannot take now."""
    refused = someone.post("/actions/upload-resume", someone.resume, Idempotency_Key="k")
    body = refused.json()
    told = (refused.status_code, body.get("error"), refused.headers.get("Retry-After"))
    expected = (503, "store_unavailable", str(body.get("retryAfter")))
    return [] if told == expected else [Problem("wrong", f"refused with {told}")]


def _accepted(someone: Subject) -> list[Problem]:
    """Ask for the same again, when it can."""
    someone.speaks(streams=False)
    accepted = someone.post("/actions/upload-resume", someone.resume, Idempotency_Key="k")
    done = accepted.status_code == 202 and someone.outcome(accepted.json())["state"] == "done"
    return [] if done else [Problem("lost", f"asked again: {accepted.text}")]


TRIAL = Trial("READONLY, LOADING, out of memory", run_refusing)
