"""Reconciling while everything moves: traffic makes no difference, and repairs and transitions do not hurt each other."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from shared.errors import UserBusy
from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, UPLOAD_RESUME, Lane
from shared.state import keys
from shared.state.erasure import erase_user
from shared.state.lifecycle import Attempt, Claim
from shared.state.quota import grant
from shared.state.store import Store, TcpStore
from tests.integration.reconcile_kit import check
from tests.integration.transitions_kit import Bench, Job

USERS = [f"u{number}" for number in range(6)]
THREADS = 4
ROUNDS = 10
SEEDS = range(2)


class Traffic:
    """One thread's share of everything that can happen to tasks, drawn by a seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self._bench = bench
        self._random = random.Random(seed)
        self.moves = 0
        self.failed: BaseException | None = None

    def go_on(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self._live(self._random.choice(USERS))
                self.moves += 1
        except BaseException as error:
            self.failed = error

    def _live(self, user: str) -> None:
        """Bring one task into being and take it through some of its life."""
        bench, plan = (
            self._bench,
            self._random.choice([CREATE_SERVICE_TEXT, CREATE_SERVICE_IMAGE, UPLOAD_RESUME]),
        )
        if self._random.random() < 0.1:
            grant(bench.store, user, 3, f"case {self._random.random()}", initial=bench.initial_quota)
        if self._random.random() < 0.05:
            self._forget(user)
        job = bench.admit(user, plan, touched=True)
        for step in range(len(job.steps)):
            if not self._step(job, step):
                return

    def _forget(self, user: str) -> None:
        try:
            erase_user(self._bench.store, user)
        except UserBusy:
            return

    def _step(self, job: Job, step: int) -> bool:
        """Run one step; tell whether another follows."""
        bench, chance = self._bench, self._random.random()
        if chance < 0.1:
            bench.fail_unpublished(job)
            return False
        bench.publish(job, step)
        attempt = bench.claim(job, step).attempt
        if attempt is None or chance < 0.2:
            bench.requeue(job, f"m{self._random.random()}", step)
            self._cancel(job, attempt)
            return False
        bench.tasks.renew(attempt)
        if chance < 0.6:
            self._break(job, step, attempt)
            return False
        return bench.finish(attempt) == "step_done"

    def _break(self, job: Job, step: int, attempt: Attempt) -> None:
        """End a running attempt in a way that is no success."""
        bench, way = self._bench, self._random.randrange(4)
        if way == 0:
            bench.fail(attempt)
        elif way == 1:  # killed: its lease lapses, and the sweep ends it once it is overdue
            bench.lapse(attempt)
            bench.store.command("ZADD", keys.OPEN_TASKS, "XX", bench.now_ms() - 1, job.ref.task_id)
            bench.sweep(job, step)
        else:
            if way == 2:
                bench.release(attempt)
            self._cancel(job, attempt)

    def _cancel(self, job: Job, attempt: Attempt | None) -> None:
        self._bench.cancel(job)
        if attempt is not None:
            self._bench.tasks.release_slot(attempt)


@contextmanager
def traffic(bench: Bench, seed: int) -> Iterator[list[Traffic]]:
    """Keep everything moving while the block runs."""
    stop = threading.Event()
    everyone = [Traffic(bench, seed * 100 + number) for number in range(THREADS)]
    threads = [threading.Thread(target=one.go_on, args=(stop,)) for one in everyone]
    for thread in threads:
        thread.start()
    try:
        yield everyone
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [one.failed for one in everyone if one.failed] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_traffic_makes_no_difference(store: Store, redis_url: str, seed: int) -> None:
    """Asked to repair or not, while tasks are admitted, run, retried, cancelled, lost and forgotten all the time."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "3"}, initial_quota=20)
    checking = TcpStore(redis_url)
    with traffic(bench, seed) as everyone:
        reports = [check(bench, repair=number % 2 == 1, store=checking) for number in range(ROUNDS)]
        moves = sum(one.moves for one in everyone)
    checking.close()
    assert [difference.what for report in reports for difference in report.differences] == []
    assert moves > ROUNDS
    assert reports[-1].checked["task"] > 0
    assert check(bench).is_clean


@pytest.mark.parametrize("seed", SEEDS)
def test_repairs_under_traffic_leave_nothing_and_pay_nothing_twice(
    store: Store, redis_url: str, seed: int
) -> None:
    """D15: two operators repair at once what a third hand breaks, while tasks go on; the coins are exact in the end."""
    bench = Bench(store, initial_quota=5000)
    ended = [bench.admit(user) for user in USERS for _ in range(3)]
    for job in ended:
        bench.cancel(job)
    stores = [TcpStore(redis_url) for _ in range(2)]
    with traffic(bench, seed), ThreadPoolExecutor(len(stores)) as pool:
        repairs = [pool.submit(_repair_often, bench, one) for one in stores]
        for job in ended:
            bench.store.command("ZADD", keys.queue(Lane.PAID_STREAM), bench.now_ms(), f"{job.ref.task_id}:0")
            _refund_again(bench, job)
        for repair in repairs:
            repair.result()
    for one in stores:
        one.close()
    assert not check(bench, repair=True).unrepaired
    assert check(bench).is_clean


def _repair_often(bench: Bench, store: Store) -> None:
    for _ in range(3):
        assert not check(bench, repair=True, store=store).unrepaired


# Balance and ledger are one write, as any script does it: what is wrong is only that it is done.
_PAY = """
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
local balance = redis.call('HINCRBY', KEYS[1], 'balance', 2)
local line = cjson.decode(ARGV[1])
line.balance = balance
redis.call('RPUSH', KEYS[2], cjson.encode(line))
return 1
"""


def _refund_again(bench: Bench, job: Job) -> None:
    user, task_id = job.ref.user_id, job.ref.task_id
    line = json.dumps({"at": bench.now_ms(), "kind": "refund", "delta": 2, "taskId": task_id})
    bench.store.command("EVAL", _PAY, 3, keys.quota(user), keys.ledger(user), keys.task(task_id), line)


def together(*calls: Callable[[], object]) -> None:
    """Make all calls at the same moment."""
    gate = threading.Barrier(len(calls))

    def call(one: Callable[[], object]) -> None:
        gate.wait()
        one()

    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call, one) for one in calls]:
            done.result()


def _lose(bench: Bench, job: Job) -> None:
    """Take a running task out of everything that lists it, and list it where it is not."""
    task_id = job.ref.task_id
    bench.store.command("ZREM", keys.queue(job.steps[0].lane), f"{task_id}:0")
    bench.store.command("ZREM", keys.OPEN_TASKS, task_id)
    bench.store.command("SREM", keys.active(job.ref.user_id), task_id)
    bench.store.command("ZADD", keys.queue(Lane.FREE_BATCH), bench.now_ms(), f"{task_id}:0")


def _ends(bench: Bench, job: Job) -> Sequence[Callable[[], object]]:
    attempt = bench.run(job)
    return [
        lambda: bench.finish(attempt),
        lambda: bench.fail(attempt),
        lambda: bench.release(attempt),
        lambda: bench.cancel(job),
    ]


@pytest.mark.parametrize("end", range(4), ids=["finish", "fail", "release", "cancel"])
def test_a_repair_that_races_with_the_end_of_a_task_leaves_nothing_behind(store: Store, end: int) -> None:
    """A place or an entry that is put back just then is not put back for a task that has ended."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "20"}, initial_quota=100)
    for _ in range(10):
        job = bench.admit()
        bench.publish(job)
        move = _ends(bench, job)[end]
        _lose(bench, job)
        together(move, *[lambda: check(bench, repair=True)] * 2)
        assert not check(bench, repair=True).unrepaired
        assert check(bench).is_clean
        bench.cancel(job)
    assert bench.store.command("ZCARD", keys.OPEN_TASKS) == 0
    assert bench.places(Lane.PAID_STREAM) == bench.places(Lane.FREE_BATCH) == []


def test_a_repair_that_races_with_a_claim_lets_it_run(store: Store) -> None:
    bench = Bench(store, initial_quota=100)
    for _ in range(10):
        job = bench.admit()
        bench.publish(job)
        _lose(bench, job)
        claims: list[Claim] = []
        together(partial(_claim, bench, job, claims), lambda: check(bench, repair=True))
        (attempt,) = [claim.attempt for claim in claims]
        assert attempt is not None
        assert not check(bench, repair=True).unrepaired
        assert check(bench).is_clean
        assert bench.record(job)["epoch"] == attempt.epoch
        assert bench.finish(attempt) == "done"


def _claim(bench: Bench, job: Job, claims: list[Claim]) -> None:
    claims.append(bench.claim(job))
