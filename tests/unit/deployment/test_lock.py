"""The lock and the ledger: one holder at a time, a token that only grows, a history that nobody rewrites."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from deployment.errors import LockHeld, LockLost, Refused
from deployment.ledger import Release, find_release, past_of, record, releases
from deployment.lock import LOCK_KEY, Lock, locked, read_lock, unlock
from deployment.objects import Conflict
from deployment.stops import Stop, forget_stop, note_stop, stops
from tests.unit.deployment.memory_kit import Killed, MemoryObjects, state


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class LosesAnswers(MemoryObjects):
    """A store whose next write takes effect and whose answer is lost: the client sends it again."""

    def put(self, key: str, content: bytes, *, only_if: str = "any") -> str:
        super().put(key, content, only_if=only_if)
        return super().put(key, content, only_if=only_if)


def test_one_of_two_gets_the_lock_and_the_other_learns_who_holds_it() -> None:
    objects = MemoryObjects()
    with (
        locked(objects, "apply --env prod") as held,
        pytest.raises(LockHeld, match=rf"apply --env prod.*unlock --id {held.holder.id}"),
        locked(objects, "x"),
    ):
        pass
    assert read_lock(objects) is None


def test_of_many_that_start_at_once_exactly_one_proceeds() -> None:
    objects, start, inside = MemoryObjects(), threading.Barrier(12), []
    release, refused = threading.Event(), threading.Semaphore(0)

    def contend() -> None:
        start.wait(10)
        try:
            with locked(objects, "apply") as held:
                inside.append(held.token)
                release.wait(30)
        except LockHeld:
            refused.release()

    threads = [threading.Thread(target=contend) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        assert all(refused.acquire(timeout=30) for _ in range(11))
    finally:
        release.set()
    for thread in threads:
        thread.join(10)
    assert inside == [1]


def test_the_token_grows_with_every_holder_and_survives_the_release() -> None:
    objects, tokens = MemoryObjects(), []
    for _ in range(3):
        with locked(objects, "apply") as held:
            tokens.append(held.token)
    assert tokens == [1, 2, 3]


def test_a_holder_that_was_killed_is_taken_over_when_its_lease_is_over_and_not_before() -> None:
    objects, clock = MemoryObjects(), Clock()
    with pytest.raises(Killed), locked(objects, "apply", clock=clock):
        raise Killed
    clock.now += 119
    with pytest.raises(LockHeld), locked(objects, "apply", clock=clock):
        pass
    clock.now += 2
    with locked(objects, "apply", clock=clock) as held:
        assert held.token == 2


def test_a_holder_that_slept_through_its_lease_may_write_nothing_more() -> None:
    objects, clock = MemoryObjects(), Clock()
    with locked(objects, "apply", clock=clock) as sleeper:
        clock.now += 121
        with locked(objects, "apply", clock=clock) as successor:
            sleeper.renew()
            with pytest.raises(LockLost):
                sleeper.check()
        assert successor.token > sleeper.token
    assert read_lock(objects) is None


def test_a_lost_holder_does_not_free_its_successors_lock() -> None:
    objects, clock = MemoryObjects(), Clock()
    with locked(objects, "first", clock=clock):
        clock.now += 121
        successor = locked(objects, "second", clock=clock)
        successor.__enter__()
    holder = read_lock(objects)
    assert holder is not None
    assert holder.command == "second"
    successor.__exit__(None, None, None)


def test_renewal_prolongs_the_lease() -> None:
    objects, clock = MemoryObjects(), Clock()
    with locked(objects, "apply", clock=clock) as held:
        clock.now += 100
        held.renew()
        clock.now += 100
        held.check()


def test_unlock_frees_the_named_holder_and_no_other() -> None:
    objects = MemoryObjects()
    with locked(objects, "apply") as held:
        with pytest.raises(Refused, match=held.holder.id):
            unlock(objects, "somebody")
        assert unlock(objects, held.holder.id).id == held.holder.id
        held.renew()
        with pytest.raises(LockLost):
            held.check()
    with pytest.raises(Refused, match="not locked"):
        unlock(objects, held.holder.id)


def test_a_taking_whose_answer_was_lost_is_recognised_as_ones_own() -> None:
    objects = LosesAnswers()
    with locked(objects, "apply") as held:
        held.check()
        assert read_lock(objects) is not None


def test_what_is_no_lock_of_this_version_is_named() -> None:
    objects = MemoryObjects()
    objects.put(LOCK_KEY, b"hello")
    with pytest.raises(Refused, match=LOCK_KEY), locked(objects, "apply"):
        pass


def release(number: int, code: str = "c0ffee") -> Release:
    states = {"lane_a": state("lane_a", code)}
    return Release(number, 1.0, "ann", "apply", "abc", 1, states, {"lane_a": {"logs": {"days": 30}}})


def test_a_release_is_read_as_it_was_written_the_newest_first() -> None:
    objects = MemoryObjects()
    for number in (1, 2, 10):
        record(objects, release(number))
    assert releases(objects) == [release(10), release(2), release(1)]
    assert find_release(objects, 2) == release(2)
    assert releases(objects, newest=2) == [release(10), release(2)]
    past = past_of(releases(objects), keep=2)
    assert (past.latest, len(past.kept)) == (10, 2)


def test_a_release_is_never_rewritten_and_the_same_again_is_no_error() -> None:
    objects = MemoryObjects()
    record(objects, release(1))
    record(objects, replace(release(1), at=2.0))
    with pytest.raises(Refused, match="somebody else"):
        record(objects, release(1, "beef00"))
    assert releases(objects) == [release(1)]


def test_a_release_that_is_not_there_is_refused_with_those_that_are() -> None:
    objects = MemoryObjects()
    record(objects, release(3))
    with pytest.raises(Refused, match=r"no release 2 .*3"):
        find_release(objects, 2)


def test_what_is_stopped_is_remembered_until_it_is_started() -> None:
    objects = MemoryObjects()
    note_stop(objects, Stop("lane_a", "ann", 1.0, "provider is down"))
    note_stop(objects, Stop("lane_b", "ann", 2.0, ""))
    forget_stop(objects, "lane_b")
    assert stops(objects) == {"lane_a": Stop("lane_a", "ann", 1.0, "provider is down")}


def test_a_lock_refuses_writes_whose_version_is_old() -> None:
    objects = MemoryObjects()
    with locked(objects, "apply") as held:
        stale = Lock(objects, held.holder, "an old version", held.clock)
        stale.renew()
        with pytest.raises(LockLost):
            stale.check()
        with pytest.raises(Conflict):
            objects.put(LOCK_KEY, b"", only_if="an old version")
