"""Rotating QStash's signing keys, on an environment in memory: nobody is turned away, and nothing is rolled twice."""

from __future__ import annotations

import pytest

from deployment.errors import LockHeld, LockLost, ProbeFailed, ProviderError, Refused
from deployment.lock import locked, read_lock, unlock
from deployment.names import secret_name
from deployment.resources import Kind
from deployment.rotation.notes import read_note
from deployment.rotation.signing_keys import SUBJECT, SigningKeyRotation
from deployment.stops import Stop, forget_stop, note_stop
from deployment.verification import Table
from deployment.workspace import SIGNING_KEYS
from tests.unit.deployment.world_kit import (
    NAMES,
    World,
    copied,
    environment,
    key,
    killed,
    released,
    workspace,
)

DELIVERED_TO = [name for name in NAMES if name != "events"]
CASES = [pytest.param(False, id="before"), pytest.param(True, id="after")]


def rotate(world: World, told: list[str] | None = None) -> Table:
    lines: list[str] = [] if told is None else told
    return SigningKeyRotation(workspace(world), lines.append).rotate()


def unheard(_text: str) -> None:
    """Nobody listens."""


def pair(world: World, name: str) -> tuple[str, str]:
    values = world.live_values(name)
    return values[SIGNING_KEYS[0]], values[SIGNING_KEYS[1]]


def assert_everywhere(world: World, number: int) -> None:
    assert {pair(world, name) for name in DELIVERED_TO} == {(key(number), key(number + 1))}
    assert world.qstash.keys.current == key(number)
    assert read_note(world.objects, SUBJECT) is None


@pytest.fixture(scope="module")
def first_release() -> World:
    return released()


@pytest.fixture
def world(first_release: World) -> World:
    return copied(first_release)


def test_a_rotation_rolls_once_and_nobody_is_turned_away_at_any_moment(world: World) -> None:
    table = rotate(world)
    assert table.ok
    assert {cell.status for cell in table.cells if cell.row == "with the former key"} == {401}
    assert world.qstash.rolls == 1
    assert world.turned_away == []
    assert_everywhere(world, 2)


def test_a_roll_before_the_next_key_is_everywhere_turns_deliveries_away(world: World) -> None:
    """The rule that the counts of this module can be other than zero."""
    world.qstash.roll()
    world.qstash.roll()
    workspace(world).provider.secrets.put("anything", "that is a write", request_id="1")
    assert world.turned_away


def test_deliveries_still_on_their_way_after_the_wait_are_turned_away(world: World) -> None:
    opened = workspace(world)
    opened.wait = lambda _seconds: None
    SigningKeyRotation(opened, unheard).rotate()
    assert {refused.partition(",")[0] for refused in world.turned_away} == {
        f"a delivery to {name}" for name in DELIVERED_TO
    }


def test_rotations_can_follow_one_another(world: World) -> None:
    for number in (2, 3, 4):
        assert rotate(world).ok
        assert_everywhere(world, number)
    assert world.qstash.rolls == 3
    assert world.turned_away == []


@pytest.mark.parametrize("after", CASES)
@pytest.mark.parametrize("applied_between", [False, True])
def test_killed_at_any_write_the_next_one_finishes_and_never_rolls_twice(
    world: World, after: bool, applied_between: bool
) -> None:
    for at in range(whole_rotation(world)):
        broken_off = copied(world)
        assert killed(broken_off, rotate, at, after=after)
        if applied_between:  # by somebody, later: what was on its way has arrived
            broken_off.qstash.on_their_way.clear()
            opened = workspace(broken_off)
            opened.apply(opened.as_files_want, "apply")
        assert rotate(broken_off).ok
        assert broken_off.qstash.rolls == 1, broken_off.writes[at]
        assert broken_off.turned_away == []
        assert_everywhere(broken_off, 2)


def whole_rotation(world: World) -> int:
    """Return how many writes there are until the note goes: from then on another call is another rotation."""
    trial = copied(world)
    rotate(trial)
    count = trial.writes.index(f"delete rotations/{SUBJECT}.json")
    assert count > 10
    return count


def test_killed_twice_it_is_still_one_rotation(world: World) -> None:
    until_rolled = copied(world)
    rotate(until_rolled)
    assert killed(world, rotate, until_rolled.writes.index("roll"), after=True)
    assert killed(world, rotate, len(world.writes) + 5, after=True)
    told: list[str] = []
    assert rotate(world, told).ok
    assert any("nothing is rolled" in line for line in told)
    assert world.qstash.rolls == 1
    assert world.turned_away == []
    assert_everywhere(world, 2)


def test_a_roll_whose_answer_is_lost_is_recognised_and_not_sent_again(world: World) -> None:
    world.qstash.lose_answer_of = {"POST /v2/keys/rotate"}
    assert rotate(world).ok
    assert world.qstash.rolls == 1
    assert world.turned_away == []
    assert_everywhere(world, 2)


def test_when_qstash_refuses_to_roll_it_says_that_nothing_was_rolled_and_can_be_asked_again(
    world: World,
) -> None:
    world.qstash.refuse = True
    with pytest.raises(ProviderError) as refused:
        rotate(world)
    assert "Nothing was rolled" in refused.value.__notes__[0]
    assert world.qstash.rolls == 0
    world.qstash.refuse = False
    assert rotate(world).ok
    assert world.qstash.rolls == 1
    assert world.turned_away == []


def test_when_nobody_knows_whether_it_rolled_that_is_said_and_found_out_the_next_time(world: World) -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if text == "QStash rolls its keys":
            world.qstash.lose_answer_of = {"POST /v2/keys/rotate", "GET /v2/keys"}

    opened = workspace(world)
    with pytest.raises(ProviderError) as lost:
        SigningKeyRotation(opened, tell).rotate()
    assert "unknown" in lost.value.__notes__[0]
    assert world.qstash.rolls == 1
    world.qstash.lose_answer_of = set()
    assert rotate(world).ok
    assert world.qstash.rolls == 1
    assert world.turned_away == []
    assert_everywhere(world, 2)


def test_a_function_that_does_not_take_the_next_key_is_named_and_nothing_is_rolled(world: World) -> None:
    world.deaf.add("paid_stream")
    with pytest.raises(ProbeFailed, match="with the next key, delivered to paid_stream: 401"):
        rotate(world)
    assert world.qstash.rolls == 0
    assert read_note(world.objects, SUBJECT) is None


def test_a_second_rotation_before_the_first_is_everywhere_sends_no_roll(world: World) -> None:
    def break_after_the_roll(text: str) -> None:
        if text == "QStash rolls its keys":
            world.deaf.add("paid_stream")

    with pytest.raises(ProbeFailed):
        SigningKeyRotation(workspace(world), break_after_the_roll).rotate()
    for _ in range(2):
        with pytest.raises(ProbeFailed):
            rotate(world)
        assert world.qstash.rolls == 1
        assert world.turned_away == []
    world.deaf.clear()
    assert rotate(world).ok
    assert world.qstash.rolls == 1
    assert_everywhere(world, 2)


def test_of_two_rotations_at_once_the_second_is_refused_and_rolls_nothing(world: World) -> None:
    with locked(world.objects, "rotate-keys"), pytest.raises(LockHeld, match="runs `rotate-keys`"):
        rotate(world)
    assert world.qstash.rolls == 0


def test_nothing_is_rolled_once_the_lock_was_lost(world: World) -> None:
    asked = "every function is asked, before the roll"

    def lose_it(text: str) -> None:
        if text == asked:
            holder = read_lock(world.objects)
            assert holder is not None
            unlock(world.objects, holder.id)

    with pytest.raises(LockLost):
        SigningKeyRotation(workspace(world), lose_it).rotate()
    assert world.qstash.rolls == 0


def test_a_stopped_lane_gets_the_new_pair_too_and_takes_calls_with_it_once_it_is_started(
    world: World,
) -> None:
    opened = workspace(world)
    note_stop(world.objects, Stop("paid_stream", "ann", 0.0, "a trial"))
    world.ensure("paid_stream", Kind.CAPACITY, {"stopped": True})
    for _ in range(2):
        assert rotate(world).ok
    assert world.machines["paid_stream"].resources[Kind.CAPACITY] == {"stopped": True}
    forget_stop(world.objects, "paid_stream")
    world.ensure("paid_stream", Kind.CAPACITY, {"stopped": False})
    assert opened.verify().ok
    assert_everywhere(world, 3)


def test_keys_rolled_in_the_console_are_brought_everywhere_and_nothing_is_rolled(world: World) -> None:
    world.qstash.roll()
    told: list[str] = []
    assert rotate(world, told).ok
    assert "it is finished now, and nothing is rolled" in told[0]
    assert world.qstash.rolls == 1
    assert world.turned_away == []
    assert_everywhere(world, 2)


def test_keys_that_nobody_knows_are_brought_everywhere_without_a_wait(world: World) -> None:
    world.qstash.roll()
    world.qstash.roll()
    opened = workspace(world)
    opened.wait = lambda _seconds: pytest.fail("every delivery is refused as it is")
    told: list[str] = []
    assert SigningKeyRotation(opened, told.append).rotate().ok
    assert "unknown here" in told[0]
    assert world.qstash.rolls == 2
    assert_everywhere(world, 3)


@pytest.mark.parametrize("after", CASES)
def test_bringing_foreign_keys_killed_at_any_write_is_gone_on_with_and_rolls_nothing(
    world: World, after: bool
) -> None:
    world.qstash.roll()
    world.qstash.on_their_way.clear()
    for at in range(whole_rotation(world)):
        broken_off = copied(world)
        assert killed(broken_off, rotate, at, after=after)
        assert rotate(broken_off).ok
        assert broken_off.qstash.rolls == 1
        assert_everywhere(broken_off, 2)


def test_before_the_first_release_there_is_nothing_to_rotate_and_nothing_is_written() -> None:
    world = World()
    with pytest.raises(Refused, match="apply first"):
        rotate(world)
    assert world.writes == []


def test_a_note_whose_versions_are_gone_does_not_stop_the_keys_from_being_brought(world: World) -> None:
    until_rolled = copied(world)
    rotate(until_rolled)
    assert killed(world, rotate, until_rolled.writes.index("roll"), after=True)
    for name in SIGNING_KEYS:
        secret = secret_name(environment(), name)
        world.store.held[secret] = ["", *world.store.held[secret]]
    # What was version 1 is version 2 now, and version 1 holds nothing that QStash ever signed with.
    assert rotate(world).ok
    assert world.qstash.rolls == 1
