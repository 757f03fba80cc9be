"""Any order of anything: what must hold of places, slots, quota and streams after every single transition.

Hypothesis plays producer, QStash, workers, callbacks and user at once, with duplicates, crashes and late arrivals, on
a real Valkey; a counter-example is shrunk to the shortest story that breaks a promise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, UPLOAD_RESUME, Lane, Model, Plan, Tier
from shared.state import keys, sums
from shared.state.controls import Controller, Controls, read_controls
from shared.state.journal import BEGINNING, entries_after
from shared.state.lifecycle import Attempt, State, Step
from shared.state.locks import live_holders
from shared.state.store import CommandRefused, Store
from tests.integration.transitions_kit import LONG_AGO_MS, TERMINAL, Bench, Job, new_ref

LIMITS = {
    "DEEPSEEK_MAX_WORKERS": "2",
    "GLM_MAX_WORKERS": "1",
    "QUEUE_MAX_SIZE": "4",
    "USER_MAX_ACTIVE": "3",
}
INITIAL_QUOTA = 5
RETRIES = 1
USERS = ["ann", "bob"]
PLANS = [UPLOAD_RESUME, CREATE_SERVICE_TEXT, CREATE_SERVICE_IMAGE]
PAIRS = [(model, tier) for model in Model for tier in Tier]
RECORD_FIELDS = ["taskId", "userId", "state", "step", "steps", "cost", "epoch"]
BUSY_LANES = st.sampled_from([Lane.PAID_STREAM, Lane.PAID_BATCH])
BUSY_PAIRS = st.sampled_from([(Model.DEEPSEEK_REASONER, Tier.PAID), (Model.DEEPSEEK_CHAT, Tier.PAID)])
WHO: dict[str, Any] = {"by": "o", "reason": "r"}
ANY = st.integers(0, 10_000)
"""Which of those there are by then."""


@dataclass(frozen=True)
class Message:
    """A message that QStash holds, and may deliver or give up on any number of times."""

    job: Job
    step: int
    n: int

    @property
    def id(self) -> str:
        return f"{self.job.ref.task_id}.{self.step}.{self.n}"


@dataclass(frozen=True)
class Record:
    """What a task's record says."""

    task_id: str
    user_id: str
    state: State
    step: int
    steps: list[dict[str, Any]]
    cost: int
    epoch: str

    @classmethod
    def parse(cls, row: list[str]) -> Record:
        task_id, user_id, state, step, steps, cost, epoch = row
        return cls(task_id, user_id, State(state), int(step), json.loads(steps), int(cost), epoch)

    @property
    def is_paid_for(self) -> bool:
        return self.state is State.DONE or not self.state.ended

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield the queue and the member of each place that the task must hold now."""
        if not self.state.ended:
            for index in range(self.step, len(self.steps)):
                yield self.steps[index]["queueId"], f"{self.task_id}:{index}"


@dataclass(frozen=True)
class Seen:
    """All that the promises are about, as Redis holds it at one moment."""

    places: dict[Lane, set[str]]
    live_holders: dict[tuple[Model, Tier], int]
    active: dict[str, set[str]]
    balances: dict[str, int]
    ledgers: dict[str, list[dict[str, Any]]]
    indexed: set[str]
    records: list[Record]


class Life(RuleBasedStateMachine):
    """Everything that may happen to tasks."""

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.store, LIMITS, initial_quota=INITIAL_QUOTA, task_retries=RETRIES)
        self.jobs: list[Job] = []
        self.messages: list[Message] = []
        self.attempts: list[Attempt] = []
        self.written: dict[str, int] = {}
        self.readings: list[tuple[str, Sequence[Any]]] = []
        """Where folders of the journal began to read, and what they read, before they add it."""
        self.controls = Controls()
        """What an operator has set, as far as it lowers a limit."""

    @initialize()
    def start_empty(self) -> None:
        self.store.command("FLUSHALL")

    # -- producer and user -------------------------------------------------------------------------------------

    @rule(
        user=st.sampled_from(USERS),
        plan=st.sampled_from(PLANS),
        key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def admit(self, user: str, plan: Plan, key: str | None) -> None:
        ref, fingerprint = new_ref(user), f"{plan.action}:{len(plan.steps)}"
        answer = self.bench.ask(user, plan, ref=ref, idempotency_key=key, fingerprint=fingerprint)
        if answer.tier:
            assert self.controls.draining is None
            steps = tuple(map(Step.from_record, json.loads(answer.steps_json)))
            self.jobs.append(Job(ref, answer.tier, steps))
        if answer.status == "replay":
            assert answer.task_id in {job.ref.task_id for job in self.jobs if job.ref.user_id == user}

    @precondition(lambda self: self.jobs)
    @rule(which=ANY, confirmed=st.booleans())
    def publish(self, which: int, confirmed: bool) -> None:
        job = self._one(self.jobs, which)
        step = self._record(job).step
        n = self.bench.tasks.begin_publish(job.ref, step)
        if n:
            self._sent(Message(job, step, n), confirmed=confirmed)

    @precondition(lambda self: self.jobs)
    @rule(which=ANY)
    def publishing_fails(self, which: int) -> None:
        self.bench.fail_unpublished(self._one(self.jobs, which))

    @precondition(lambda self: self.jobs)
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        self.bench.cancel(self._one(self.jobs, which))

    @precondition(lambda self: self.jobs)
    @rule(which=ANY)
    def budget_runs_out(self, which: int) -> None:
        job = self._one(self.jobs, which)
        if self._record(job).state is State.QUEUED:
            self.bench.wait_long(job)

    @precondition(lambda self: self.jobs)
    @rule(which=ANY)
    def sweep(self, which: int) -> None:
        job = self._one(self.jobs, which)
        record = self._record(job)
        if not record.state.ended:
            self.bench.make_overdue(job)
        self.bench.sweep(job, record.step)

    # -- QStash ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.messages)
    @rule(which=ANY)
    def deliver(self, which: int) -> None:
        message = self._one(self.messages, which)
        claim = self.bench.claim(message.job, message.step)
        if claim.attempt:
            self.attempts.append(claim.attempt)
            attempt = claim.attempt
            assert attempt.lane not in self.controls.stopped
            limit = self.controls.slots_limit(self.bench.limits, attempt.model, attempt.tier)
            assert live_holders(self.store, attempt.model, attempt.tier) <= limit

    @precondition(lambda self: self.messages)
    @rule(which=ANY, refused=st.sampled_from([False, False, True]), confirmed=st.booleans())
    def give_up_on(self, which: int, refused: bool, confirmed: bool) -> None:
        message = self._one(self.messages, which)
        answer = self.bench.requeue(message.job, message.id, message.step, refused=refused)
        if answer.status == "publish":
            self._sent(Message(message.job, message.step, answer.n), confirmed=confirmed)

    # -- an operator -------------------------------------------------------------------------------------------

    @rule(lane=BUSY_LANES, stopped=st.sampled_from([True, True, False]))
    def stop_or_start(self, lane: Lane, stopped: bool) -> None:
        operator = Controller(self.store)
        _ = operator.stop(lane, **WHO) if stopped else operator.start(lane, by="o")
        self.controls = read_controls(self.store)

    @rule(draining=st.sampled_from([True, False, False]))
    def drain_or_resume(self, draining: bool) -> None:
        operator = Controller(self.store)
        _ = operator.drain(**WHO) if draining else operator.resume(by="o")
        self.controls = read_controls(self.store)

    @rule(pair=BUSY_PAIRS, lane=BUSY_LANES, places=st.integers(0, 3))
    def lower_limits(self, pair: tuple[Model, Tier], lane: Lane, places: int) -> None:
        operator = Controller(self.store)
        operator.set_slots(*pair, 1, **WHO)
        operator.set_places(lane, places, **WHO)
        self.controls = read_controls(self.store)

    @rule(pair=BUSY_PAIRS, lane=BUSY_LANES)
    def clear_limits(self, pair: tuple[Model, Tier], lane: Lane) -> None:
        operator = Controller(self.store)
        operator.clear_slots(*pair, by="o")
        operator.clear_places(lane, by="o")
        self.controls = read_controls(self.store)

    # -- workers, also those that were taken for dead ----------------------------------------------------------

    @precondition(lambda self: self.attempts)
    @rule(which=ANY)
    def write(self, which: int) -> None:
        """Redis stores what the running attempt writes, and refuses what any other does."""
        attempt = self._one(self.attempts, which)
        record = self._record(Job(attempt.ref, attempt.tier, ()))
        n = self.written[attempt.epoch] = self.written.get(attempt.epoch, 0) + 1
        key = keys.events(attempt.ref.user_id, attempt.ref.service_id, attempt.ref.task_id)
        try:
            self.store.command("XADD", key, f"{attempt.epoch}-{n}", "e", '{"type":"token_batch"}')
        except CommandRefused:
            stored = False
        else:
            stored = True
        assert stored == (record.state is State.RUNNING and record.epoch == attempt.epoch)

    @precondition(lambda self: self.attempts)
    @rule(which=ANY)
    def renew(self, which: int) -> None:
        attempt = self._one(self.attempts, which)
        if not self.bench.tasks.renew(attempt):
            self.bench.tasks.release_slot(attempt)

    @precondition(lambda self: self.attempts)
    @rule(which=ANY)
    def lease_lapses(self, which: int) -> None:
        attempt = self._one(self.attempts, which)
        self.store.command("ZADD", keys.slots(attempt.model, attempt.tier), "XX", LONG_AGO_MS, attempt.holder)

    @precondition(lambda self: self.attempts)
    @rule(which=ANY, end=st.sampled_from(["finish", "finish", "release", "fail"]))
    def end_attempt(self, which: int, end: str) -> None:
        getattr(self.bench, end)(self._one(self.attempts, which))

    # -- whoever adds the journal up: several at once, late, twice, or dead before they add ------------------------

    @rule()
    def a_folder_reads(self) -> None:
        cursor = str(self.store.command("HGET", keys.SUMS, "cursor") or BEGINNING)
        if entries := entries_after(self.store, cursor, 2):
            self.readings.append((cursor, entries))

    @precondition(lambda self: self.readings)
    @rule(which=ANY)
    def a_folder_adds(self, which: int) -> None:
        sums.add(self.store, *self._one(self.readings, which))

    # -- what must hold after each of them ---------------------------------------------------------------------

    @invariant()
    def no_promise_is_broken(self) -> None:
        seen = self._look()
        self._check_places(seen)
        self._check_slots(seen)
        self._check_open_tasks(seen)
        self._check_money(seen)
        self._check_journal(seen)

    def _check_places(self, seen: Seen) -> None:
        """The places are those of the open tasks' remaining steps, and within the limit."""
        wanted: dict[str, set[str]] = {lane: set() for lane in Lane}
        for record in seen.records:
            for queue, member in record.places():
                wanted[queue].add(member)
        for lane in Lane:
            assert seen.places[lane] == wanted[lane]
            assert len(wanted[lane]) <= self.bench.limits.places(lane)

    def _check_slots(self, seen: Seen) -> None:
        for (model, tier), holders in seen.live_holders.items():
            assert holders <= self.bench.limits.slots(model, tier)

    def _check_open_tasks(self, seen: Seen) -> None:
        """The open tasks are in the index and in their user's set, and within the user's cap."""
        for user in USERS:
            open_ids = {r.task_id for r in seen.records if r.user_id == user and not r.state.ended}
            assert seen.active[user] == open_ids
            assert len(open_ids) <= self.bench.limits.user_max_active
        assert seen.indexed == set().union(*seen.active.values())

    @staticmethod
    def _check_money(seen: Seen) -> None:
        """Debits less refunds are the cost of what is done or still open; the ledger adds up to the balance."""
        for user in USERS:
            paid_for = [r.cost for r in seen.records if r.user_id == user and r.is_paid_for]
            lines = seen.ledgers[user]
            assert sum(line["delta"] for line in lines if line["kind"] != "grant") == -sum(paid_for)
            assert sum(line["delta"] for line in lines) == seen.balances[user] >= 0

    def _check_journal(self, seen: Seen) -> None:
        """Each task is counted once, open or ended, and each step that ended is in the journal or in the sums."""
        read = sums.read_sums(self.store)
        ended = [record for record in seen.records if record.state.ended]
        assert (read.ended_tasks, read.open_tasks) == (len(ended), len(seen.records) - len(ended))
        cursor = str(self.store.command("HGET", keys.SUMS, "cursor") or BEGINNING)
        left = len(entries_after(self.store, cursor, 1000))
        folded = sum(kind.used.steps for kind in read.ended)
        assert folded + left == sum(record.step + record.state.ended for record in seen.records)

    def teardown(self) -> None:
        """Let everything come to its end, and look at what is left."""
        for job in self.jobs:
            self._bring_to_its_end(job)
        self._lapse_all()
        self.no_promise_is_broken()
        seen = self._look()
        assert not any([*seen.places.values(), *seen.active.values(), seen.indexed])
        assert not any(seen.live_holders.values())
        for job in self.jobs:
            self._check_stream(job)
        super().teardown()

    # -- how ---------------------------------------------------------------------------------------------------

    def _bring_to_its_end(self, job: Job) -> None:
        """Take the lawful ways only: deliveries where they are possible, the sweep where they are not."""
        for _ in range(10):
            record = self._record(job)
            if record.state.ended:
                return
            self._lapse_all()
            claim = self.bench.claim(job, record.step)
            if claim.attempt:
                self.bench.finish(claim.attempt)
            elif not self._record(job).state.ended:
                self.bench.make_overdue(job)
                if self.bench.sweep(job, record.step) == "publish":  # as the sweeper then does
                    self.bench.publish(job, record.step)
        raise AssertionError(f"{job.ref.task_id} does not end")

    def _check_stream(self, job: Job) -> None:
        """One terminal event, the last; and every batch stands behind the start of its own attempt."""
        events = self.bench.events(job)
        assert [i for i, event in enumerate(events) if event.type in TERMINAL] == [len(events) - 1]
        epoch = ""
        for event in events:
            if event.type == "start":
                epoch = event.id.split("-")[0]
                assert 1 <= event.data["attempt"] <= RETRIES + 1
            if event.type == "token_batch":
                assert event.id.split("-")[0] == epoch

    def _lapse_all(self) -> None:
        for attempt in self.attempts:
            self.store.command(
                "ZADD", keys.slots(attempt.model, attempt.tier), "XX", LONG_AGO_MS, attempt.holder
            )

    def _sent(self, message: Message, *, confirmed: bool) -> None:
        self.messages.append(message)
        if confirmed:
            self.bench.tasks.confirm_publish(message.job.ref, message.step, message.n)

    @staticmethod
    def _one(things: list[Any], which: int) -> Any:
        return things[which % len(things)]

    def _look(self) -> Seen:
        """Read everything in one round trip."""
        commands: list[list[str | int]] = [["ZRANGE", keys.queue(lane), 0, -1] for lane in Lane]
        commands += [["ZCOUNT", keys.slots(*pair), LONG_AGO_MS + 1, "+inf"] for pair in PAIRS]
        commands += [["SMEMBERS", keys.active(user)] for user in USERS]
        commands += [["HGET", keys.quota(user), "balance"] for user in USERS]
        commands += [["LRANGE", keys.ledger(user), 0, -1] for user in USERS]
        commands += [["ZRANGE", keys.OPEN_TASKS, 0, -1]]
        commands += [["HMGET", keys.task(job.ref.task_id), *RECORD_FIELDS] for job in self.jobs]
        replies = iter(self.store.pipeline(commands))
        return Seen(
            places={lane: set(next(replies)) for lane in Lane},
            live_holders={pair: next(replies) for pair in PAIRS},
            active={user: set(next(replies)) for user in USERS},
            balances={user: int(next(replies) or 0) for user in USERS},
            ledgers={user: list(map(json.loads, next(replies))) for user in USERS},
            indexed=set(next(replies)),
            records=list(map(Record.parse, replies)),
        )

    def _record(self, job: Job) -> Record:
        return Record.parse(self.store.command("HMGET", keys.task(job.ref.task_id), *RECORD_FIELDS))


def test_whatever_happens_in_whatever_order_no_promise_is_broken(store: Store) -> None:
    """D1, D2, D3, D5, D6, D14, D15, D16, D18, D19, D20, D21, D32."""
    run_state_machine_as_test(
        type("LifeOnThisStore", (Life,), {"store": store}),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
