"""Everything that a soak leaves behind, as plain data that the invariants are functions of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devstack.llm.transcript import Call
from devstack.soak.book import Answered, Book, Taken
from devstack.soak.injector import Injector, Interruption
from devstack.soak.plan import Plan
from devstack.soak.rest import Unrest, retrying
from devstack.soak.watch import PAIRS, Seen, established, live_leases
from devstack.stack import Stack
from shared.config import ConcurrencyConfig
from shared.routing import Lane
from shared.state import keys
from shared.state.store import Store

SCAN_COUNT = 500
API_KEYS = {"deepseek": "dev-deepseek-key", "glm": "dev-glm-key"}
Events = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Account:
    """One user's coins."""

    balance: int | None
    """None when they were never seen."""
    ledger: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is in the sets and on the wires at the end."""

    places: Mapping[Lane, int]
    live_leases: int
    lapsed_leases: int
    open_tasks: int
    active: int
    """Tasks that users' sets still name."""
    unrest: Unrest
    connections: Mapping[str, int]
    """To each function and to Redis."""
    blocked_clients: int
    retrying: int = 0
    """Messages that wait for the broker's back-off."""


@dataclass(slots=True)
class Evidence:
    """What the invariants are checked on."""

    initial_quota: int
    max_attempts: int
    limits: ConcurrencyConfig
    user_cap: int
    taken: Sequence[Taken] = ()
    answers: Sequence[Answered] = ()
    under_key: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Every task's record that Redis has."""
    events: Mapping[str, Events] = field(default_factory=dict)
    """Every task's stream."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    calls: Sequence[Call] = ()
    interruptions: Sequence[Interruption] = ()
    seen: Seen = field(default_factory=Seen)
    leftovers: Leftovers | None = None
    quiet_connections: Mapping[str, int] = field(default_factory=dict)
    """Before the traffic."""


def connections(stack: Stack) -> dict[str, int]:
    """Return how many connections there are to each function and to Redis."""
    ports = {name: int(stack.url(name).rpartition(":")[2]) for name in stack.functions}
    return {name: established(port) for name, port in (ports | {"Redis": stack.valkey.port}).items()}


def gather(
    stack: Stack,
    plan: Plan,
    book: Book,
    injector: Injector,
    seen: Seen,
    unrest: Unrest,
    *,
    settings: Mapping[str, str],
    quiet_connections: Mapping[str, int],
) -> Evidence:
    """Read everything there is to read; only when nothing moves any more."""
    users = [plan.user_name(user) for user in range(plan.users)]
    with contextlib.closing(stack.open_store()) as store:
        records = _records(store)
        return Evidence(
            initial_quota=int(settings["INITIAL_QUOTA"]),
            max_attempts=int(settings["TASK_RETRIES"]) + 1,
            limits=stack.limits,
            user_cap=int(settings["USER_MAX_ACTIVE"]),
            taken=book.tasks(),
            answers=list(book.answers),
            under_key=dict(book.under_key),
            records=records,
            events={task_id: _events(store, record) for task_id, record in records.items()},
            accounts={user: _account(store, user) for user in users},
            calls=list(stack.llm.transcript.calls),
            interruptions=list(injector.interruptions),
            seen=seen,
            leftovers=_leftovers(stack, store, users, unrest),
            quiet_connections=quiet_connections,
        )


def _records(store: Store) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    cursor = "0"
    while True:
        cursor, names = store.command("SCAN", cursor, "MATCH", keys.task("*"), "COUNT", SCAN_COUNT)
        for name in names:
            found[name.partition(":")[2]] = _as_mapping(store.command("HGETALL", name))
        if str(cursor) == "0":
            return found


def _as_mapping(answer: Any) -> dict[str, str]:
    return dict(answer) if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _events(store: Store, record: Mapping[str, str]) -> Events:
    key = keys.events(record["userId"], record["serviceId"], record["taskId"])
    return [(event_id, json.loads(fields[1])) for event_id, fields in store.command("XRANGE", key, "-", "+")]


def _account(store: Store, user: str) -> Account:
    balance = store.command("HGET", keys.quota(user), "balance")
    lines = store.command("LRANGE", keys.ledger(user), 0, -1)
    return Account(None if balance is None else int(balance), [json.loads(line) for line in lines])


def _leftovers(stack: Stack, store: Store, users: Sequence[str], unrest: Unrest) -> Leftovers:
    seconds, micros = store.command("TIME")
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    holders = [store.command("ZRANGE", keys.slots(*pair), 0, -1, "WITHSCORES") for pair in PAIRS]
    live = sum(live_leases(each, now_ms) for each in holders)
    return Leftovers(
        places={lane: store.command("ZCARD", keys.queue(lane)) for lane in Lane},
        live_leases=live,
        lapsed_leases=sum(store.command("ZCARD", keys.slots(*pair)) for pair in PAIRS) - live,
        open_tasks=store.command("ZCARD", keys.OPEN_TASKS),
        active=sum(store.command("SCARD", keys.active(user)) for user in users),
        unrest=unrest,
        connections=connections(stack),
        blocked_clients=_blocked(store),
        retrying=retrying(stack),
    )


def _blocked(store: Store) -> int:
    info = str(store.command("INFO", "clients"))
    line = next(line for line in info.splitlines() if line.startswith("blocked_clients:"))
    return int(line.partition(":")[2])
