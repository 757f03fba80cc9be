"""The planner and the executor, on a provider in memory: from anything to what is wanted, and then nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployment.errors import DeployError, ForeignResource, LockLost, ProbeFailed, Refused
from deployment.ledger import releases
from deployment.lock import Holder, Lock
from deployment.objects import Condition
from deployment.planner import Canary, Desired
from deployment.resources import Kind
from deployment.states import SecretPin
from deployment.steps import (
    Ensure,
    Plan,
    Probe,
    Prune,
    Publish,
    Record,
    Settle,
    Shift,
    Step,
    Upload,
    step_from_json,
    step_to_json,
)
from tests.unit.deployment.memory_kit import (
    ORDER,
    Answers,
    Killed,
    Machine,
    MemoryProvider,
    NoSecrets,
    apply,
    desired,
    perform,
    plan,
    state,
)


def deployed(*wanted: Desired) -> MemoryProvider:
    provider = MemoryProvider()
    for each in (desired(), *wanted):
        apply(each, provider)
    return provider


def functions(planned: Plan, kind: type[Step]) -> list[str]:
    return [getattr(step, "function", "") for step in planned.steps if isinstance(step, kind)]


def test_what_was_just_deployed_needs_no_step_and_no_write() -> None:
    provider = deployed()
    writes = len(provider.writes)
    second = apply(desired(), provider)
    assert second.empty
    assert len(provider.writes) == writes


def test_on_an_empty_account_everything_is_made_before_anything_goes_live() -> None:
    kinds = [type(step) for step in plan(desired(), MemoryProvider()).steps]
    first_shift, last_probe = kinds.index(Shift), max(i for i, kind in enumerate(kinds) if kind is Probe)
    assert kinds.count(Ensure) == 4 * len(ORDER)
    assert kinds.count(Publish) == kinds.count(Probe) == kinds.count(Shift) == len(ORDER)
    assert last_probe < first_shift
    assert kinds[-1] is Record


def test_workers_go_live_before_the_bridge_and_the_producer_last() -> None:
    assert functions(plan(desired(), MemoryProvider()), Shift) == list(ORDER)


def test_only_the_function_whose_code_changed_is_touched() -> None:
    provider = deployed()
    planned = plan(desired(state("lane_b", "beef00")), provider)
    touched = {step.function for step in planned.steps if hasattr(step, "function")}
    assert touched == {"lane_b"}
    assert [type(step) for step in planned.steps] == [Upload, Publish, Probe, Shift, Record]


def test_a_change_of_configuration_publishes_without_an_upload() -> None:
    planned = plan(desired(state("lane_b", QUEUE_MAX_SIZE="7")), deployed())
    assert [type(step) for step in planned.steps] == [Publish, Probe, Shift, Record]
    (publish,) = [step for step in planned.steps if isinstance(step, Publish)]
    assert [change.property for change in publish.changes] == ["variables.QUEUE_MAX_SIZE"]


def test_a_new_version_of_a_secret_is_a_change_that_shows_versions_only() -> None:
    rotated = replace(state("lane_a"), secrets={"KEY": SecretPin("key", "v2")})
    (publish,) = [s for s in plan(desired(rotated), deployed()).steps if isinstance(s, Publish)]
    assert [(c.property, c.before, c.after) for c in publish.changes] == [("secrets.KEY", "key@v1", "key@v2")]


def test_a_property_changed_by_hand_is_named_and_brought_back() -> None:
    provider = deployed()
    provider.machines["events"].resources[Kind.ADDRESS] = {"public": False}
    (step,) = plan(desired(), provider).steps
    assert isinstance(step, Ensure)
    assert (step.function, step.kind, step.changes[0].before) == ("events", Kind.ADDRESS, False)
    apply(desired(), provider)
    assert plan(desired(), provider).empty


def test_calls_led_elsewhere_by_hand_are_led_back() -> None:
    provider = deployed(desired(state("lane_a", "beef00")))
    old, new = provider.machines["lane_a"].revisions
    provider.machines["lane_a"].live = {old.fingerprint: 100}
    planned = apply(desired(state("lane_a", "beef00")), provider)
    assert [type(step) for step in planned.steps] == [Probe, Shift]
    assert provider.machines["lane_a"].live == {new.fingerprint: 100}


def test_something_foreign_of_a_wanted_name_is_refused_before_any_step() -> None:
    provider = MemoryProvider()
    provider.machines["events"] = Machine({Kind.IDENTITY: {"policy": "theirs"}}, foreign={Kind.IDENTITY})
    with pytest.raises(ForeignResource, match="events/identity"):
        plan(desired(), provider)


def test_going_back_to_a_former_release_publishes_nothing() -> None:
    provider = deployed(desired(state("lane_a", "beef00")))
    back = plan(desired(), provider)
    assert [type(step) for step in back.steps] == [Probe, Shift, Record]


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_killed_at_any_write_the_next_apply_ends_in_the_same_state(after: bool) -> None:
    wanted = desired(state("lane_b", "beef00"), lane_a={Kind.CAPACITY: {"reserved": 9}})
    straight = deployed(wanted)
    total = len(straight.writes)
    for k in range(total):
        provider = MemoryProvider(kill_at=k, kill_after=after)
        for each in (desired(), wanted):
            try:
                apply(each, provider)
            except Killed:
                provider.bucket.delete("lock.json")
                apply(each, provider)
        assert provider.machines == straight.machines, f"killed at {straight.writes[k]}"
        assert provider.artefacts == straight.artefacts
        assert plan(wanted, provider).empty
    assert total > 20


def test_a_candidate_that_fails_its_probe_leaves_everything_live_as_it_was() -> None:
    provider = deployed()
    before = {name: dict(machine.live) for name, machine in provider.machines.items()}
    wanted = desired(state("lane_a", "beef00"), state("actions", "bad000"))
    with pytest.raises(ProbeFailed):
        apply(wanted, provider, prober=Answers({"bad000" * 6}))
    assert {name: machine.live for name, machine in provider.machines.items()} == before
    assert len(releases(provider.objects)) == 1


def test_a_canary_moves_part_by_part_with_a_wait_and_a_probe_between() -> None:
    provider = deployed()
    new = state("lane_a", "beef00")
    waits = perform(plan(desired(new), provider, Canary((10, 50, 100), 60)), provider)
    moved = [weights for function, weights in provider.shown if function == "lane_a"][1:]
    assert [sorted(weights.values()) for weights in moved] == [[10, 90], [50, 50], [100]]
    assert waits == [60, 60]


@pytest.mark.parametrize("fails", [2, 3], ids=["at 10 per cent", "at 50 per cent"])
def test_a_canary_that_fails_or_is_interrupted_goes_back_whole(fails: int) -> None:
    provider = deployed()
    before = {name: dict(machine.live) for name, machine in provider.machines.items()}
    with pytest.raises(KeyboardInterrupt):
        apply(
            desired(state("lane_a", "beef00")),
            provider,
            canary=Canary((10, 50, 100), 1),
            prober=Answers(interrupt_at=fails),
        )
    assert {name: machine.live for name, machine in provider.machines.items()} == before


def test_a_first_release_has_nothing_to_be_compared_with_and_goes_live_at_once() -> None:
    planned = plan(desired(), MemoryProvider(), Canary((10, 100), 1))
    assert {step.percent for step in planned.steps if isinstance(step, Shift)} == {100}


def test_old_revisions_go_and_never_one_that_a_kept_release_needs() -> None:
    provider = deployed(*(desired(state("lane_a", f"{n:06x}")) for n in range(1, 7)))
    assert plan(desired(state("lane_a", f"{6:06x}")), provider).empty
    assert [revision.number for revision in provider.machines["lane_a"].revisions] == [5, 6, 7]
    kept = releases(provider.objects)[:3]
    needed = {release.states["lane_a"].fingerprint for release in kept}
    assert needed <= {revision.fingerprint for revision in provider.machines["lane_a"].revisions}
    assert {r.states[n].code for r in kept for n in ORDER} <= provider.artefacts


def test_a_holder_who_lost_the_lock_writes_nothing_more() -> None:
    provider = MemoryProvider()
    holder = Holder("a", "ann", "here", 1, "apply", 1, 0, 10)
    version = provider.bucket.put("lock.json", b"{}", only_if=Condition.ABSENT)
    stale = Lock(provider.bucket, holder, version, clock=lambda: 11)
    with pytest.raises(LockLost):
        perform(plan(desired(), provider), provider, lock=stale)
    assert provider.writes == []


def test_every_step_survives_a_file() -> None:
    provider = deployed(desired(state("lane_a", "000001")))
    steps = [
        *plan(desired(), MemoryProvider(), Canary((10, 100), 1)).steps,
        *plan(desired(state("lane_a", "beef00"), keep=1), provider, Canary((10, 100), 2.5)).steps,
    ]
    assert {Settle, Prune} < {type(step) for step in steps}
    for step in steps:
        assert step_from_json(json.loads(json.dumps(step_to_json(step)))) == step


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(ORDER), st.sampled_from(["aaaa00", "bbbb00", "cccc00"])),
            st.integers(1, 3),
            st.sampled_from([(100,), (10, 100)]),
            st.none() | st.integers(0, 40),
        ),
        max_size=6,
    )
)
def test_from_any_history_an_apply_ends_in_what_is_wanted(
    history: list[tuple[dict[str, str], int, tuple[int, ...], int | None]],
) -> None:
    provider = MemoryProvider()
    for codes, keep, percents, kill in history:
        wanted = desired(*(state(name, code) for name, code in codes.items()), keep=keep)
        provider.kill_at = None if kill is None else len(provider.writes) + kill
        try:
            apply(wanted, provider, canary=Canary(percents))
        except Killed:
            provider.bucket.delete("lock.json")
            provider.kill_at = None
            apply(wanted, provider)
        assert plan(wanted, provider).empty
        newest = releases(provider.objects)[0]
        for name in ORDER:
            assert provider.machines[name].live == {newest.states[name].fingerprint: 100}
            assert newest.states[name].code == wanted.states[name].code


def test_a_revision_that_takes_calls_is_never_removed() -> None:
    provider = deployed()
    (only,) = provider.machines["events"].revisions
    with pytest.raises(Refused):
        provider.prune("events", only.id)


def test_a_stopped_function_is_led_to_its_new_revision_without_a_probe_that_nobody_would_answer() -> None:
    provider, prober = deployed(), Answers()
    wanted = replace(desired(state("lane_a", "beef00")), stopped=frozenset({"lane_a"}))
    apply(wanted, provider, prober=prober, canary=Canary((10, 100), 1))
    assert prober.asked == []
    (live,) = provider.machines["lane_a"].live
    assert live.startswith("beef00")


def test_versions_of_secrets_go_once_no_kept_release_pins_them() -> None:
    provider = MemoryProvider()
    for version in "12345":
        pinned = {"KEY": SecretPin("key", version)}
        states = [replace(state(name), secrets=pinned) for name in ORDER]
        apply(desired(*states, keep=3), provider)
    assert [sorted(pin.version for pin in kept) for kept in provider.no_secrets.kept] == [
        ["1"],
        ["1", "2"],
        ["1", "2", "3"],
        ["2", "3", "4"],
        ["3", "4", "5"],
    ]


def test_a_store_that_cannot_let_go_of_versions_takes_no_release_back() -> None:
    class Stuck(NoSecrets):
        def keep_only(self, pins: object) -> None:
            raise DeployError("the secret manager is away")

    provider = deployed()
    provider.no_secrets = Stuck()
    with pytest.raises(DeployError):
        apply(desired(state("lane_a", "beef00")), provider)
    (live,) = provider.machines["lane_a"].live
    assert live.startswith("beef00")
    assert plan(desired(state("lane_a", "beef00")), provider).empty
