"""How a soak counts a provider's calls, and what it takes for a process that grew."""

from __future__ import annotations

from devstack.llm.transcript import Call
from devstack.soak.injector import Interruption
from devstack.soak.leftovers import quarters
from devstack.soak.limits import provider_limits, provider_peaks
from devstack.soak.watch import MemorySample, live_leases
from shared.config import get_concurrency_config
from shared.routing import Lane

KEY = ("dev-deepseek-key", "deepseek-chat")
NOBODY: tuple[Interruption, ...] = ()


def _call(start: float, end: float | None, task: str = "interview_prep") -> Call:
    return Call(int(start), *KEY, task, frozenset(), start, end)


def test_calls_that_overlap_are_counted_together_and_others_are_not() -> None:
    assert provider_peaks([_call(0, 10), _call(5, 15), _call(12, 20)], NOBODY) == {KEY: 2}
    assert provider_peaks([_call(0, 5), _call(5, 10)], NOBODY) == {KEY: 1}


def test_a_call_that_never_ended_is_still_open() -> None:
    assert provider_peaks([_call(0, None), _call(50, 60)], NOBODY) == {KEY: 2}


def test_a_close_that_is_noticed_a_moment_late_is_no_overlap() -> None:
    assert provider_peaks([_call(0, 5.05), _call(5, 10)], NOBODY) == {KEY: 1}


def test_a_call_of_a_frozen_lane_is_counted_apart_from_then_on_and_only_that() -> None:
    """D2: its slot goes to another when its lease lapses, while its connection is still open."""
    frozen = [Interruption(4, frozenset({Lane.PAID_STREAM}))]
    assert provider_peaks([_call(0, 20), _call(6, 10)], frozen) == {KEY: 1}
    assert provider_peaks([_call(0, 20), _call(2, 10)], frozen) == {KEY: 2}, "before it was frozen"
    assert provider_peaks([_call(5, 20), _call(6, 10)], frozen) == {KEY: 2}, "they began after it"
    batch = [_call(0, 20, "resume_summary"), _call(6, 10, "resume_summary")]
    assert provider_peaks(batch, frozen) == {KEY: 2}, "another lane"


def test_a_provider_may_see_the_slots_of_both_tiers_under_its_one_key() -> None:
    limits = get_concurrency_config({"DEEPSEEK_MAX_WORKERS": "3", "GLM_MAX_WORKERS": "2"})
    allowed = provider_limits(limits)
    assert allowed["dev-glm-key", "glm-4.1v-thinking-flash"] == 4
    assert allowed["dev-glm-key", "glm-4.5-flash"] == 2
    assert allowed["dev-deepseek-key", "deepseek-reasoner"] == 3


def test_a_lease_counts_until_it_lapses_in_either_form_of_redis_answer() -> None:
    assert live_leases(["a", "1000", "b", "2000"], now_ms=1500) == 1
    assert live_leases([["a", 1000.0], ["b", 2000.0]], now_ms=1500) == 1
    assert live_leases([], now_ms=0) == 0


def test_memory_is_compared_between_the_second_and_the_last_quarter_of_a_run() -> None:
    samples = [MemorySample(float(at), 1, 100.0 if at < 60 else 200.0) for at in range(100)]
    assert quarters(samples) == (100.0, 200.0)


def test_a_process_that_has_just_started_is_not_measured() -> None:
    samples = [MemorySample(float(at), 1 if at < 90 else 2, 100.0 if at < 90 else 50.0) for at in range(100)]
    assert quarters(samples) == (100.0, 100.0)


def test_a_short_run_tells_nothing_of_memory() -> None:
    assert quarters([MemorySample(float(at), 1, 100.0) for at in range(12)]) is None
    assert quarters([]) is None
