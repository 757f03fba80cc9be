"""What the journal comes to: each entry counted once, whoever folds, and kept for as long as it should be."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import StoreUnavailable
from shared.routing import CREATE_SERVICE_IMAGE
from shared.state import keys, sums
from shared.state.journal import KEPT_MS, ended_steps
from shared.state.scripts import Script
from shared.state.store import Store
from shared.state.sums import BOUNDS_MS, Timing, Used, fold, read_sums, read_usage, read_users_usage
from tests.integration.test_journal import SOME, USED, finish
from tests.integration.transitions_kit import Bench

DAY_MS = 86_400_000


class FailingStore:
    """A store whose `at`-th call fails: before Redis has it, or after, when only the answer is lost."""

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, at, after

    def command(self, *args: Any) -> Any:
        return self._call(lambda: self._store.command(*args))

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        return list(self._call(lambda: self._store.pipeline(commands)))

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return self._call(lambda: self._store.script(script, keys, args))

    def close(self) -> None:
        self._store.close()

    def _call(self, call: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise StoreUnavailable
        answer = call()
        if self._left == 0:
            raise StoreUnavailable
        return answer


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store, {"DEEPSEEK_MAX_WORKERS": "100", "QUEUE_MAX_SIZE": "5000"}, initial_quota=10_000)


def put(store: Store, count: int, **changes: Any) -> None:
    """Put entries as the transitions write them, after the first of all, which one of them makes."""
    if not store.command("XLEN", keys.JOURNAL):
        bench = Bench(store)
        finish(bench, bench.run(bench.admit()))
    ((_, (_, text)),) = store.command("XRANGE", keys.JOURNAL, "-", "+", "COUNT", 1)
    entry = json.dumps({**json.loads(text), **changes})
    store.pipeline([("XADD", keys.JOURNAL, "*", "e", entry)] * count)


def put_long_ago(store: Store, count: int, at_ms: int) -> None:
    """Begin the journal with entries of an age."""
    put(store, 0)
    ((_, fields),) = store.command("XRANGE", keys.JOURNAL, "-", "+")
    store.command("DEL", keys.JOURNAL)
    store.pipeline([("XADD", keys.JOURNAL, f"{at_ms}-*", *fields)] * count)


def total(store: Store) -> Used:
    return sum((kind.used for kind in read_sums(store).ended), Used())


def today(bench: Bench) -> dt.date:
    return dt.datetime.fromtimestamp(bench.now_ms() / 1000, dt.UTC).date()


# -- once and only once ------------------------------------------------------------------------------------------------


def test_folding_again_adds_nothing(bench: Bench) -> None:
    bench.cancel(bench.admit())
    assert (fold(bench.store), fold(bench.store)) == (1, 0)
    assert total(bench.store).steps == 1


def test_more_than_are_read_at_once_are_all_counted(store: Store) -> None:
    put(store, 2 * sums.ENTRIES_AT_ONCE + 7)
    assert fold(store) == 2 * sums.ENTRIES_AT_ONCE + 8
    assert total(store).steps == 2 * sums.ENTRIES_AT_ONCE + 8


def test_an_entry_is_counted_once_however_many_fold_at_once_while_tasks_end(bench: Bench) -> None:
    ended, over = 60, threading.Event()

    def keep_folding() -> int:
        folded = 0
        while not over.is_set():
            folded += fold(bench.store)
        return folded

    with ThreadPoolExecutor(4) as pool:
        folders = [pool.submit(keep_folding) for _ in range(3)]
        for _ in range(ended):
            finish(bench, bench.run(bench.admit()))
        over.set()
        folded = sum(folder.result() for folder in folders) + fold(bench.store)
    assert folded == ended
    assert total(bench.store) == read_usage(bench.store, today(bench), today(bench))[0].used
    assert (total(bench.store).steps, total(bench.store).cost_micros) == (ended, ended * 2400)
    assert read_sums(bench.store).ended_tasks == ended


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_folder_that_dies_at_any_call_loses_nothing_and_doubles_nothing(
    store: Store, at: int, *, after: bool
) -> None:
    count = sums.ENTRIES_AT_ONCE + 3
    put(store, count - 1)
    try:
        fold(FailingStore(store, at, after=after))
    except StoreUnavailable:
        assert at <= 7
    else:
        assert at == 8  # it makes seven calls in all
    fold(store)
    assert total(store).steps == count
    (day,) = read_usage(store, *[today(Bench(store))] * 2)
    assert day.used.steps == count


def test_who_read_from_another_place_adds_nothing(store: Store) -> None:
    put(store, 3)
    entries = store.command("XRANGE", keys.JOURNAL, "-", "+")
    assert sums.add(store, "0-0", entries) is True
    assert sums.add(store, "0-0", entries) is False
    assert sums.add(store, entries[0][0], entries[1:]) is False
    assert total(store).steps == 4


def test_an_entry_that_no_transition_wrote_does_not_stop_the_others(store: Store) -> None:
    put(store, 1)
    store.command("XADD", keys.JOURNAL, "*", "e", "nonsense")
    put(store, 1)
    assert read_sums(store).ended_tasks == 3
    fold(store)
    assert (total(store).steps, read_sums(store).ended_tasks) == (3, 3)


# -- what may go -------------------------------------------------------------------------------------------------------


def test_what_is_older_than_two_hours_goes_once_it_is_folded(store: Store) -> None:
    put_long_ago(store, 5, Bench(store).now_ms() - KEPT_MS - 60_000)
    put(store, 3)
    assert fold(store) == 8
    assert store.command("XLEN", keys.JOURNAL) == 3
    assert len(list(ended_steps(store))) == 3
    assert total(store).steps == 8


def test_nothing_goes_that_is_not_folded_however_old(store: Store) -> None:
    put_long_ago(store, sums.ENTRIES_AT_ONCE + 5, Bench(store).now_ms() - 10 * KEPT_MS)
    with pytest.raises(StoreUnavailable):
        fold(FailingStore(store, 4, after=False))  # dead after the first batch
    assert store.command("XLEN", keys.JOURNAL) == 5 + 1  # the last one folded stays, to tell a gap by
    fold(store)
    assert total(store).steps == sums.ENTRIES_AT_ONCE + 5
    assert read_sums(store).gaps == 0


def test_a_journal_that_was_cut_before_it_was_read_is_told(store: Store) -> None:
    put(store, 2)
    fold(store)
    put(store, 2)
    store.command("XTRIM", keys.JOURNAL, "MAXLEN", 1)
    fold(store)
    assert (total(store).steps, read_sums(store).gaps) == (4, 1)
    fold(store)
    put(store, 1)
    fold(store)
    assert read_sums(store).gaps == 1


def test_days_are_kept_as_long_as_the_sweep_says_and_users_days_for_35_at_most(store: Store) -> None:
    bench = Bench(store)
    midnight_ms = (bench.now_ms() // DAY_MS + 1) * DAY_MS
    day = today(bench).isoformat()
    for said, days, users_days in ((None, 400, 35), (90, 90, 35), (None, 90, 35), (7, 7, 7)):
        put(store, 1)
        fold(store, usage_days=said)
        assert store.command("PEXPIRETIME", keys.usage(day)) == midnight_ms + days * DAY_MS
        assert store.command("PEXPIRETIME", keys.users_usage(day)) == midnight_ms + users_days * DAY_MS
    assert store.command("PTTL", keys.SUMS) == -1


# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_days_usage_is_told_by_tier_template_model_lane_and_currency(bench: Bench) -> None:
    job = bench.admit("ada", CREATE_SERVICE_IMAGE)
    finish(bench, bench.run(job))
    finish(bench, bench.run(job, step=1), SOME)
    bench.cancel(bench.admit("bob"))
    fold(bench.store)
    usage = {(u.template, u.currency): u for u in read_usage(bench.store, today(bench), today(bench))}
    assert set(usage) == {("job_vision_summary", "CNY"), ("job_match", "CNY"), ("job_match", "")}
    match = usage["job_match", "CNY"]
    assert (match.day, match.tier, match.model) == (today(bench), "paid", "deepseek-reasoner")
    assert (match.lane, match.used.tokens_in, match.used.cost_micros) == ("paid_stream", 90, 201)
    assert usage["job_vision_summary", "CNY"].used.tokens_out == USED["completionTokens"]
    cancelled = usage["job_match", ""].used
    assert (cancelled.cancelled, cancelled.refunds, cancelled.refunded_coins) == (1, 1, 2)
    by_user = {u.user: u.used for u in read_users_usage(bench.store, today(bench), today(bench))}
    assert by_user[keys.user_hash("ada")].steps == 2
    assert by_user[keys.user_hash("ada")].tasks == 1
    assert by_user[keys.user_hash("bob")].cancelled == 1


def test_a_step_counts_for_the_day_on_which_it_ended(store: Store) -> None:
    bench = Bench(store)
    put(store, 1)
    yesterday = today(bench) - dt.timedelta(days=1)
    put(store, 2, at=bench.now_ms() - DAY_MS)
    fold(store)
    days = {u.day: u.used.steps for u in read_usage(store, yesterday - dt.timedelta(3), today(bench))}
    assert days == {yesterday: 2, today(bench): 2}


def test_durations_are_in_the_bucket_below_whose_bound_they_are(store: Store) -> None:
    put(store, 1, waitedMs=0, runMs=BOUNDS_MS[2], ttftMs=BOUNDS_MS[-1] + 1, lane="l", model="m")
    put(store, 1, waitedMs=0, runMs=BOUNDS_MS[2] + 1, ttftMs=None, lane="l", model="m")
    put(store, 1, waitedMs=7, runMs=9, ttftMs=None, state="failed", lane="l", model="m")
    fold(store)
    timings = read_sums(store).timings
    waiting, first, run = (timings[timing, "l", "m"] for timing in Timing)
    assert (waiting.counts[0], waiting.count, waiting.sum_ms) == (3, 3, 7)
    assert (first.counts[-1], first.count) == (1, 1)
    assert (run.counts[2], run.counts[3], run.count) == (1, 1, 2)


def test_a_step_that_never_ran_has_waited_in_vain_and_is_no_measure_of_waiting(bench: Bench) -> None:
    bench.cancel(bench.admit())
    fold(bench.store)
    assert read_sums(bench.store).timings == {}


def test_every_accepted_task_is_counted_once_whether_open_ended_or_folded(bench: Bench) -> None:
    for done in (True, False, True):
        job = bench.admit()
        if done:
            finish(bench, bench.run(job))
        fold(bench.store)
        job = bench.admit()
        if done:
            bench.cancel(job)
    read = read_sums(bench.store)
    assert (read.accepted_tasks, read.ended_tasks, read.open_tasks) == (6, 4, 2)


def test_sums_of_another_shape_begin_anew(store: Store) -> None:
    """After a deployment that counts something else: a counter that restarts, and no nonsense."""
    day = today(Bench(store))
    store.command("HSET", keys.usage(day.isoformat()), "paid|t|m|l|CNY", "[1,2]")
    assert read_usage(store, day, day)[0].used == Used()
    put(store, 1, tier="paid", template="t", model="m", lane="l", currency="CNY")
    fold(store)
    assert {u.used.steps for u in read_usage(store, day, day)} == {1}


def test_a_users_id_is_in_no_sum(bench: Bench) -> None:
    finish(bench, bench.run(bench.admit("ada-lovelace")))
    fold(bench.store)
    assert "ada-lovelace" not in json.dumps(
        {name: content for name, content in bench.dump().items() if name.startswith(("usage", "sums"))}
    )
