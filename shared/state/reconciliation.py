"""Compares every queue place, index, slot, balance and ledger with the task records, and mends what differs.

    SCAN finds names ─▶ one script for one task, member, model or account: decides, and repairs, at one moment

The scan itself decides nothing, so traffic meanwhile makes no difference: each script sees its task, and
all that belongs to it, between two transitions. Every repair may be done twice, or cut off: what one run
left, the next one finds. The record says what is true of a task, the ledger what is true of coins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.config import ConcurrencyConfig, StreamSettings, TimeSettings
from shared.routing import ROUTES, Lane, Model, Tier
from shared.state import keys
from shared.state.controls import most_slots_since
from shared.state.keys import TaskRef
from shared.state.lifecycle import Step
from shared.state.scripts import load_script
from shared.state.store import Store, clock_ms
from shared.state.tasks import Tasks

Kind = Literal[
    "place", "open", "active", "slot", "overdue", "stream", "record", "debit", "refund", "balance", "ledger"
]
PAGE = 1000
"""Names, or members, that are read at once."""
SWEEPS = 2
"""An open task that has been overdue for longer than so many sweeps shows that nobody sweeps."""
_FIELDS = ("userId", "serviceId", "tier", "step", "steps")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the task's record, or the ledger, says."""

    kind: Kind
    what: str
    """A sentence for an operator: names tasks and keys, never a user or a user's text."""
    repaired: bool = False


@dataclass(slots=True)
class Report:
    """What one reconciliation has found."""

    differences: list[Difference] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    """How many tasks, places, slots, accounts and entries of indexes have been compared."""
    ending: int = 0
    """Slots of attempts that are over: they cannot be renewed, and so are free within one lease."""
    lapsed: int = 0
    """Slots whose lease has lapsed: they count no more, and the next claim removes them."""

    @property
    def is_clean(self) -> bool:
        return not self.differences

    @property
    def unrepaired(self) -> list[Difference]:
        return [difference for difference in self.differences if not difference.repaired]


def reconcile(
    store: Store,
    *,
    concurrency: ConcurrencyConfig,
    time: TimeSettings,
    stream: StreamSettings,
    repair: bool = False,
    on_progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare all that Redis keeps with the task records; exact under traffic too.

    Args:
        store: Redis, over either of its ways in.
        concurrency: the limits that the functions run with.
        time: the durations that they run with.
        stream: what a repair that ends a task needs to know of events.
        repair: whether to mend what differs, where that can be done without inventing anything.
        on_progress: called with the report as it stands, after each page.

    Raises:
        StoreUnavailable: Redis went away; what has been repaired stays repaired, the next run does the rest.
    """
    return _Reconciliation(store, concurrency, time, stream, repair=repair, on_progress=on_progress).run()


class _Reconciliation:
    """One run."""

    def __init__(
        self,
        store: Store,
        concurrency: ConcurrencyConfig,
        time: TimeSettings,
        stream: StreamSettings,
        *,
        repair: bool,
        on_progress: Callable[[Report], None],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._time = time
        self._tasks = Tasks(store, concurrency=concurrency, time=time, stream=stream)
        self._repair = repair
        self._on_progress = on_progress
        self._report = Report()
        self._told: set[Difference] = set()
        self._refunds: set[str] = set()
        self._accounts: set[str] = set()

    def run(self) -> Report:
        for lane in Lane:
            self._check_members("place", keys.queue(lane), self._sorted_set(keys.queue(lane)))
        self._check_members("open", keys.OPEN_TASKS, self._sorted_set(keys.OPEN_TASKS))
        for model, tier in sorted({(route.model, tier) for (_, tier), route in ROUTES.items()}):
            self._check_slots(model, tier)
        for page in self._names():
            self._check_tasks([name.removeprefix("task:") for name in page if name.startswith("task:")])
            self._check_active(
                [name for name in page if name.startswith("user:") and name.endswith(":active")]
            )
            self._note_accounts(page)
            self._on_progress(self._report)
        for account in sorted(self._accounts):
            self._check_account(account)
        self._on_progress(self._report)
        return self._report

    # -- reading names ---------------------------------------------------------------------------------------

    def _names(self) -> Iterator[list[str]]:
        """Yield the names of all keys, page by page; a name may come twice."""
        cursor = "0"
        while True:
            cursor, names = self._store.command("SCAN", cursor, "COUNT", PAGE)
            yield names
            if str(cursor) == "0":
                return

    def _sorted_set(self, key: str) -> Iterator[list[str]]:
        yield from self._scanned("ZSCAN", key)

    def _scanned(self, command: str, key: str) -> Iterator[list[str]]:
        """Yield a set's members, page by page; one that is there all along comes at least once."""
        cursor = "0"
        while True:
            cursor, flat = self._store.command(command, key, cursor, "COUNT", PAGE)
            yield flat[::2] if command == "ZSCAN" else flat
            self._on_progress(self._report)
            if str(cursor) == "0":
                return

    def _note_accounts(self, names: Sequence[str]) -> None:
        for name in names:
            kind, _, account = name.partition(":")
            if kind in {"quota", "ledger"}:
                self._accounts.add(account)

    # -- one script each -------------------------------------------------------------------------------------

    def _check_members(
        self, kind: Literal["place", "open", "active", "slot"], key: str, pages: Iterator[list[str]]
    ) -> None:
        """Compare all members of one queue, index or model's slots with their tasks."""
        named = f"{key}: " if kind in {"place", "slot"} else ""
        listed = {"place": "has a place", "open": "is listed as open", "active": "is listed as its user's"}
        for page in pages:
            for member in page:
                task_id = member.split(":")[0]
                request = {"kind": kind, "member": member, "repair": self._repair}
                answer = self._ask("check_member", [keys.task(task_id), key], request)
                self._report.checked[kind] += 1
                self._report.ending += answer["status"] == "ending"
                if answer["status"] == "wrong":
                    what = f"{named}task {member} {listed[kind]}, but {answer['why']}"
                    self._differs(kind, what, repaired=self._repair)

    def _check_active(self, names: Sequence[str]) -> None:
        for name in names:
            self._check_members("active", name, self._scanned("SSCAN", name))

    def _check_slots(self, model: Model, tier: Tier) -> None:
        key, limit = keys.slots(model, tier), self._concurrency.slots(model, tier)
        self._check_members("slot", key, self._sorted_set(key))
        request = {"leaseMs": _ms(self._time.lease_seconds), "repair": self._repair}
        answer = self._ask("check_slots", [key], request)
        self._report.lapsed += answer["lapsed"]
        for holder in answer["tooLong"]:
            self._differs("slot", f"{key}: {holder} holds it for longer than a lease", repaired=self._repair)
        if answer["live"] > limit and answer["live"] > (set_ := self._most_set(model, tier)):
            limit = max(limit, set_)
            self._differs("slot", f"{key}: {answer['live']} hold a slot, of {limit} that there are")

    def _most_set(self, model: Model, tier: Tier) -> int:
        """Return the most slots that an operator has set while an attempt of now may have begun."""
        run_ms = _ms(self._time.worker_timeout_seconds + self._time.lease_seconds)
        since_ms = clock_ms(self._store.command("TIME")) - run_ms
        return most_slots_since(self._store, model, tier, since_ms)

    def _check_tasks(self, task_ids: Sequence[str]) -> None:
        rows = self._store.pipeline([["HMGET", keys.task(task_id), *_FIELDS] for task_id in task_ids])
        for task_id, row in zip(task_ids, rows, strict=True):
            self._check_task(task_id, dict(zip(_FIELDS, row, strict=True)))

    def _check_task(self, task_id: str, record: Mapping[str, str | None]) -> None:
        ref = TaskRef(task_id, record["serviceId"] or "", record["userId"] or "")
        request = {
            "repair": self._repair,
            "reference": f"reconcile-{task_id}",
            "runMs": _ms(self._time.worker_timeout_seconds + self._time.lease_seconds),
            "graceMs": _ms(self._time.lease_seconds),
            "unpublishedMs": self._tasks.unpublished_ms,
            "lateMs": _ms(SWEEPS * 60 * self._time.sweep_minutes),
        }
        self._report.checked["task"] += 1
        for found in self._ask("check_task", keys.of_transition(ref), request):
            repaired, what = found["repaired"], f"task {task_id} {found['what']}"
            if found["kind"] == "overdue" and self._repair:
                repaired, outcome = self._sweep(ref, record)
                what = f"{what}: {outcome}"
            if found["kind"] == "refund":
                self._refunds.add(task_id)
            self._differs(found["kind"], what, repaired=repaired)

    def _sweep(self, ref: TaskRef, record: Mapping[str, str | None]) -> tuple[bool, str]:
        """Look after an overdue task as the sweep would; tells whether it could, and what came of it."""
        try:
            step = Step.from_record(json.loads(record["steps"] or "")[int(record["step"] or "")])
            outcome = self._tasks.sweep(ref, step=step, tier=Tier(record["tier"] or ""))
        except (ValueError, LookupError, TypeError):
            return False, "no sweep can read its record"
        told = {"publish": "its message is left to the next touch", "alive": "it runs"}
        return True, told.get(
            outcome, f"ended as {outcome}" if outcome in _ENDS else "looked after meanwhile"
        )

    def _check_account(self, account: str) -> None:
        key_list = [f"quota:{account}", f"ledger:{account}"]
        self._report.checked["account"] += 1
        for found in self._ask("check_account", key_list, {"repair": self._repair}):
            task_id = found.get("taskId")
            if task_id in self._refunds:
                continue  # the task itself has been named already
            of = f"task {task_id}" if task_id else key_list[found["kind"] == "ledger"]
            self._differs(found["kind"], f"{of} {found['what']}", repaired=found["repaired"])

    def _ask(self, name: str, key_list: list[str], request: Mapping[str, Any]) -> Any:
        return json.loads(self._store.script(load_script(name), key_list, [json.dumps(request)]))

    def _differs(self, kind: Kind, what: str, *, repaired: bool = False) -> None:
        difference = Difference(kind, what, repaired)
        if difference not in self._told:  # SCAN may name a key twice
            self._told.add(difference)
            self._report.differences.append(difference)


_ENDS = {"lost", "wait_timeout"}


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
