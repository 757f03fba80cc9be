"""Rotating the secrets of tokens, on an environment in memory: two are taken for as long as both are about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployment.errors import ProviderError, Refused
from deployment.ledger import now_seconds
from deployment.rotation.notes import Stage, read_note
from deployment.rotation.secrets import SecretRotation
from deployment.workspace import QSTASH_TOKEN
from tests.unit.deployment.world_kit import (
    STREAM,
    STREAM_SECOND,
    USERS,
    USERS_SECOND,
    VALUES,
    World,
    copied,
    killed,
    released,
    workspace,
)

CASES = [pytest.param(False, id="before"), pytest.param(True, id="after")]
NEW_USERS = "another-user-token-secret-of-the-test"
NEW_TOKEN = "another-token-of-the-test"


def rotation(world: World, at: Callable[[], float] = now_seconds, **variables: str) -> SecretRotation:
    return SecretRotation(workspace(world, variables=variables), lambda _text: None, at)


def apply(world: World) -> None:
    opened = workspace(world)
    opened.apply(opened.as_files_want, "apply")


def begin(world: World, variable: str) -> None:
    value = NEW_USERS if variable == USERS else None
    assert rotation(world).begin(variable, value).ok


def stage(world: World, variable: str) -> Stage | None:
    note = read_note(world.objects, variable)
    return note.stage if note else None


def writes_of(world: World, act: Callable[[World], object], until: str) -> int:
    """Return how many writes an act makes until one of that name, the last of them that counts."""
    trial = copied(world)
    act(trial)
    return len(trial.writes) - 1 - trial.writes[::-1].index(until)


@pytest.fixture(scope="module")
def first_release() -> World:
    return released()


@pytest.fixture
def world(first_release: World) -> World:
    return copied(first_release)


@pytest.fixture
def both(first_release: World) -> World:
    """An environment in which two values of each secret are taken."""
    other = copied(first_release)
    begin(other, STREAM)
    begin(other, USERS)
    return copied(other)


def test_a_new_stream_token_secret_signs_and_both_are_taken(world: World) -> None:
    begin(world, STREAM)
    actions, events = world.live_values("actions"), world.live_values("events")
    assert actions[STREAM] == events[STREAM] != VALUES[STREAM]
    assert events[STREAM_SECOND] == VALUES[STREAM]
    assert world.turned_away == []
    assert stage(world, STREAM) is Stage.BOTH


def test_a_secret_that_signs_before_it_is_taken_everywhere_turns_readers_away(world: World) -> None:
    """The rule that the counts of this module can be other than zero."""
    world.store.put(STREAM, "a-secret-that-nobody-takes-yet-0001", request_id="1")
    apply(world)
    assert any(line.startswith("a reader") for line in world.turned_away)


def test_a_new_user_token_secret_is_taken_and_the_old_one_still_is(world: World) -> None:
    begin(world, USERS)
    actions = world.live_values("actions")
    assert (actions[USERS], actions[USERS_SECOND]) == (VALUES[USERS], NEW_USERS)
    assert world.turned_away == []


@pytest.mark.parametrize("variable", [STREAM, USERS])
@pytest.mark.parametrize("after", CASES)
@pytest.mark.parametrize("applied_between", [False, True])
def test_killed_at_any_write_the_next_call_goes_on_and_turns_nobody_away(
    world: World, variable: str, after: bool, applied_between: bool
) -> None:
    def begun(world: World) -> None:
        begin(world, variable)

    last = writes_of(world, begun, f"object rotations/{variable}.json")
    for at in range(last):
        broken_off = copied(world)
        assert killed(broken_off, begun, at, after=after)
        if applied_between:
            apply(broken_off)
        begin(broken_off, variable)
        assert broken_off.turned_away == [], broken_off.writes[at]
        assert stage(broken_off, variable) is Stage.BOTH
        taken = broken_off.live_values("events" if variable == STREAM else "actions")
        assert VALUES[variable] in {taken[variable], taken[f"{variable}_SECOND"]}
        assert len({taken[variable], taken[f"{variable}_SECOND"]}) == 2


def test_a_second_rotation_is_refused_while_two_are_taken(both: World) -> None:
    for variable in (STREAM, USERS):
        with pytest.raises(Refused, match=rf"rotate-keys --secret {variable} --finish"):
            begin(both, variable)
    assert [write for write in both.writes if not write.startswith("object lock")] == []


def test_a_value_that_is_in_use_already_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="in use already"):
        rotation(world).begin(USERS, VALUES[USERS])
    assert stage(world, USERS) is None


def test_the_old_secret_is_let_go_only_when_the_tokens_it_signed_have_ended(both: World) -> None:
    lifetime_seconds = 600.0
    soon, later = (lambda seconds=seconds: now_seconds() + seconds for seconds in (540, 601))
    variables = {"STREAM_TOKEN_TTL_SECONDS": str(lifetime_seconds)}
    with pytest.raises(Refused, match=r"good for another (60|59|58|57|56|55) seconds"):
        rotation(both, soon, **variables).finish(STREAM)
    assert rotation(both, later, **variables).finish(STREAM).ok
    events = both.live_values("events")
    assert VALUES[STREAM] not in {events[STREAM], events[STREAM_SECOND]}
    assert stage(both, STREAM) is None


def test_where_nothing_is_said_tokens_are_good_for_two_hours(both: World) -> None:
    with pytest.raises(Refused, match=r"good for another 1(19|20) minutes"):
        rotation(both).finish(STREAM)


def test_now_does_not_wait_for_tokens_to_end(both: World) -> None:
    new = both.live_values("actions")[STREAM]
    assert rotation(both).finish(STREAM, now=True).ok
    events = both.live_values("events")
    assert events[STREAM] == new
    assert events[STREAM_SECOND] not in {VALUES[STREAM], new}


def test_the_new_user_token_secret_alone_is_taken_in_the_end(both: World) -> None:
    both.users_about = {NEW_USERS}
    assert rotation(both).finish(USERS).ok
    actions = both.live_values("actions")
    assert actions[USERS] == NEW_USERS
    assert actions[USERS_SECOND] not in {NEW_USERS, VALUES[USERS]}
    assert both.turned_away == []


@pytest.mark.parametrize("variable", [STREAM, USERS])
@pytest.mark.parametrize("after", CASES)
@pytest.mark.parametrize("applied_between", [False, True])
def test_finishing_killed_at_any_write_ends_with_the_new_secret_alone(
    both: World, variable: str, after: bool, applied_between: bool
) -> None:
    new = both.live_values("actions")[STREAM] if variable == STREAM else NEW_USERS
    both.users_about, both.tokens_about = {NEW_USERS}, {both.live_values("actions")[STREAM]}

    def finish(world: World) -> None:
        assert rotation(world).finish(variable, now=True).ok

    for at in range(writes_of(both, finish, f"delete rotations/{variable}.json")):
        broken_off = copied(both)
        assert killed(broken_off, finish, at, after=after)
        if applied_between:
            apply(broken_off)
        finish(broken_off)
        assert broken_off.turned_away == [], broken_off.writes[at]
        taken = broken_off.live_values("events" if variable == STREAM else "actions")
        assert taken[variable] == new
        assert VALUES[variable] != taken[f"{variable}_SECOND"] != new
        assert stage(broken_off, variable) is None


def test_there_is_nothing_to_finish_before_a_rotation_or_while_it_was_broken_off(world: World) -> None:
    with pytest.raises(Refused, match="No rotation of STREAM_TOKEN_SECRET is under way"):
        rotation(world).finish(STREAM)
    assert killed(world, lambda each: begin(each, STREAM), 3, after=True)
    with pytest.raises(Refused, match="goes on with it: rotate-keys --secret STREAM_TOKEN_SECRET"):
        rotation(world).finish(STREAM)


def test_another_value_can_be_offered_after_a_wrong_one(both: World) -> None:
    """Nobody signs with what was offered yet: `secrets set` and an apply replace it."""
    right = "the-right-user-token-secret-of-the-test"
    both.store.put(USERS_SECOND, right, request_id="1")
    apply(both)
    assert rotation(both).finish(USERS).ok
    assert both.live_values("actions")[USERS] == right


def test_a_token_that_qstash_does_not_take_changes_nothing(world: World) -> None:
    with pytest.raises(ProviderError, match="does not know the token"):
        rotation(world).token(NEW_TOKEN)
    assert [write for write in world.writes if not write.startswith("object lock")] == []


@pytest.mark.parametrize("after", CASES)
def test_another_token_is_handed_out_also_when_it_was_killed_at_any_write(world: World, after: bool) -> None:
    world.qstash.tokens.add(NEW_TOKEN)
    last = writes_of(world, lambda trial: rotation(trial).token(NEW_TOKEN), "object releases/000002.json")
    for at in range(last + 1):
        broken_off = copied(world)
        assert killed(broken_off, lambda each: rotation(each).token(NEW_TOKEN), at, after=after)
        assert rotation(broken_off).token(NEW_TOKEN).ok
        assert broken_off.live_values("actions")[QSTASH_TOKEN] == NEW_TOKEN
        assert broken_off.store.held[QSTASH_TOKEN] == [VALUES[QSTASH_TOKEN], NEW_TOKEN]
