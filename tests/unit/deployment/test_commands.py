"""The command, on an environment in memory: exit statuses, documents, messages, and what each command leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.cli.building import build_packages
from deployment.cli.console import Terminal
from deployment.ledger import releases
from deployment.lock import locked, read_lock
from deployment.plan_file import load_plan, save_plan
from deployment.resources import Kind
from deployment.steps import Probe, Step
from deployment.stops import Stop, note_stop
from tests.unit.deployment.command_kit import Command
from tests.unit.deployment.memory_kit import Quiet
from tests.unit.deployment.world_kit import NAMES, USERS, VALUES, World, copied, workspace

NEW_USERS = "another-user-token-secret-of-the-test"


@pytest.fixture(scope="module")
def first_release() -> World:
    """An environment as the command itself released it, so that its packages are those of this checkout."""
    world = World()
    opened = workspace(world)
    build_packages(opened, Terminal())
    opened.apply(opened.as_files_want, "apply")
    return world


@pytest.fixture
def world(first_release: World) -> World:
    return copied(first_release)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def live(world: World) -> dict[str, dict[str, int]]:
    return {name: dict(machine.live) for name, machine in world.machines.items()}


# -- exit statuses -----------------------------------------------------------------------------------------------------


def test_plan_is_2_while_there_is_something_to_do_and_0_afterwards(command: Command) -> None:
    world = World()
    command(world, "plan", status=2)
    assert world.writes == []
    command(world, "apply")
    assert "nothing to do" in command(world, "plan").out


def test_a_second_apply_writes_nothing(world: World, command: Command) -> None:
    assert "nothing was written" in command(world, "apply").out
    assert world.writes == []


def test_drift_is_2_when_somebody_changed_something_by_hand(world: World, command: Command) -> None:
    assert "is as release 1 left it" in command(world, "drift").out
    world.machines["paid_stream"].resources[Kind.LOGS] = {"of": "somebody"}
    said = command(world, "drift", status=2)
    assert "paid_stream" in said.out
    assert "somebody" in said.out
    command(world, "apply")
    world.qstash.schedules["one"]["isPaused"] = True
    assert "paused: yes → no" in command(world, "drift", status=2).out
    command(world, "apply")
    command(world, "drift")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("deploy",),
        ("plan", "--canary", "50,10"),
        ("plan", "--canary", "10,50"),
        ("apply", "--wait", "-1"),
        ("apply", "--wait", "nan"),
        ("apply", "--nothing"),
        ("stop",),
        ("unlock",),
        ("releases", "--limit", "0"),
        ("rollback", "--to", "last"),
        ("rotate-keys", "--secret", "REDIS_URL"),
        ("rotate-keys", "--in-flight", "soon"),
        ("secrets",),
        ("--emulate", "azure", "plan"),
    ],
)
def test_wrong_usage_is_1_and_says_how(world: World, command: Command, arguments: tuple[str, ...]) -> None:
    said = command(world, *arguments, status=1)
    assert said.err.startswith("usage: scripts/deploy.py")
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("stop", "paid_steam"), NAMES),
        (("start", "paid_steam"), NAMES),
        (("rollback", "--to", "0"), ("release 0", "there are: 1")),
        (("rollback", "--to", "7"), ("release 7", "there are: 1")),
        (("rollback",), ("no former release",)),
        (("secrets", "set", "GLM_KEY"), ("GLM_KEY", "STREAM_TOKEN_SECRET", "DEEPSEEK_API_KEY")),
        (("secrets", "set", USERS), (USERS, "nothing was given")),
        (("unlock", "--id", "1"), ("not locked",)),
        (("apply", "nowhere/plan.json"), ("nowhere/plan.json", "No such file")),
        (("plan", "--out", "nowhere/plan.json"), ("nowhere/plan.json", "No such file")),
        (("rotate-keys", "--finish"), ("--secret",)),
        (("rotate-keys", "--secret", "QSTASH_TOKEN", "--finish"), ("console",)),
        (("destroy",), ("--confirm memory",)),
        (("destroy", "--confirm", "other"), ("--confirm memory",)),
    ],
)
def test_what_cannot_be_done_is_1_and_one_message_that_names_what_there_is(
    world: World, command: Command, arguments: tuple[str, ...], named: tuple[str, ...]
) -> None:
    before = live(world)
    said = command(world, *arguments, status=1)
    assert all(name in said.err for name in named)
    assert "Traceback" not in said.err
    assert live(world) == before
    assert read_lock(world.objects) is None


@pytest.mark.parametrize(
    "arguments", [("verify",), ("drift",), ("rollback",), ("rotate-keys",), ("stop", "events")]
)
def test_before_the_first_release_commands_say_apply_first(
    command: Command, arguments: tuple[str, ...]
) -> None:
    world = World()
    said = command(world, *arguments, status=1)
    assert "apply first" in said.err or "no former release" in said.err
    assert world.writes == []


def test_ctrl_c_is_130_leaves_the_lock_free_and_what_was_live(world: World, command: Command) -> None:
    before = live(world)
    world.interrupted = True
    said = command(world, "apply", "--canary", "10,100", "--wait", "5", status=130, INITIAL_QUOTA="9")
    assert "led back to what was live before" in said.err
    assert live(world) == before
    assert any(10 in weights.values() for _name, weights in world.shown)
    assert read_lock(world.objects) is None
    world.interrupted = False
    command(world, "apply", INITIAL_QUOTA="9")


# -- documents ---------------------------------------------------------------------------------------------------------

EVERY_COMMAND = [
    (("plan",), 0),
    (("apply",), 0),
    (("status",), 0),
    (("drift",), 0),
    (("verify",), 0),
    (("releases",), 0),
    (("secrets", "list"), 0),
    (("secrets", "set", USERS), 0),
    (("stop", "paid_stream", "--why", "a trial"), 0),
    (("start", "paid_stream"), 0),
    (("rotate-keys",), 0),
    (("rotate-keys", "--secret", "STREAM_TOKEN_SECRET"), 0),
    (("rotate-keys", "--secret", USERS), 0),
    (("rollback", "--to", "1"), 0),
    (("destroy", "--confirm", "memory"), 0),
]


@pytest.mark.parametrize(
    ("arguments", "status"), EVERY_COMMAND, ids=lambda each: "-".join(each) if each else ""
)
def test_with_json_every_command_prints_exactly_one_document(
    world: World, command: Command, arguments: tuple[str, ...], status: int
) -> None:
    said = command(world, *arguments, "--json", status=status, given=NEW_USERS)
    assert isinstance(said.document, dict | list)
    assert said.out.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "status"), EVERY_COMMAND, ids=lambda each: "-".join(each) if each else ""
)
def test_in_a_log_there_are_no_control_characters(
    world: World, command: Command, arguments: tuple[str, ...], status: int
) -> None:
    said = command(world, *arguments, status=status, given=NEW_USERS)
    assert said.out
    assert all(line.isprintable() for line in said.all.splitlines())


# -- saved plans and the lock ------------------------------------------------------------------------------------------


def test_a_saved_plan_is_performed_as_it_is_and_only_once(
    world: World, command: Command, tmp_path: Path
) -> None:
    file = str(tmp_path / "plan.json")
    said = command(world, "plan", "--out", file, status=2, INITIAL_QUOTA="9")
    assert f"apply {file}" in said.err
    assert world.writes == []
    command(world, "apply", file, INITIAL_QUOTA="9")
    command(world, "plan", INITIAL_QUOTA="9")
    again = command(world, "apply", file, status=1, INITIAL_QUOTA="9")
    assert "has changed since this plan was made" in again.err


def test_a_saved_plan_is_refused_when_anything_was_changed_since(
    world: World, command: Command, tmp_path: Path
) -> None:
    file = str(tmp_path / "plan.json")
    command(world, "plan", "--out", file, status=2, INITIAL_QUOTA="9")
    world.machines["events"].resources[Kind.LOGS] = {"of": "somebody"}
    writes = len(world.writes)
    assert "has changed since" in command(world, "apply", file, status=1).err
    assert len(world.writes) == writes


def test_a_saved_plan_is_of_one_environment_and_says_itself_how_it_goes_live(
    world: World, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    command(world, "plan", "--out", str(file), status=2, INITIAL_QUOTA="9")
    assert "--canary" in command(world, "apply", str(file), "--canary", "10,100", status=1).err
    save_plan(replace(load_plan(file), environment="prod"), tmp_path / "other.json")
    other = command(world, "apply", str(tmp_path / "other.json"), status=1)
    assert "was made for prod, not for memory" in other.err
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"environment": "prod"}))
    assert "changed after it was made" in command(world, "apply", str(file), status=1).err


def test_who_holds_the_lock_is_told_and_looking_and_stopping_need_none(
    world: World, command: Command
) -> None:
    with locked(world.objects, "apply --env memory") as lock:
        said = command(world, "apply", status=1, INITIAL_QUOTA="9")
        assert "runs `apply --env memory`" in said.err
        assert f"unlock --id {lock.holder.id}" in said.err
        assert lock.holder.id in command(world, "status").out
        command(world, "plan", status=2, INITIAL_QUOTA="9")
        command(world, "apply")  # there is nothing to do
        command(world, "stop", "paid_stream")
        command(world, "unlock", "--id", lock.holder.id)
    command(world, "start", "paid_stream")
    command(world, "apply", INITIAL_QUOTA="9")


# -- releases ----------------------------------------------------------------------------------------------------------


def test_a_canary_leads_calls_over_in_parts_and_the_producer_last(world: World, command: Command) -> None:
    command(world, "apply", "--canary", "10,50,100", "--wait", "1", INITIAL_QUOTA="9")
    assert [(name, max(weights.values())) for name, weights in world.shown] == [
        ("actions", 90),
        ("actions", 50),
        ("actions", 100),
    ]


def test_a_release_that_fails_its_probe_in_the_middle_goes_back_everywhere(
    world: World, command: Command
) -> None:
    before = live(world)
    rotated = command(world, "secrets", "set", "STREAM_TOKEN_SECRET", given="x" * 40)
    assert "next apply" in rotated.out
    world.deaf_when_live.add("actions")
    said = command(world, "apply", "--canary", "10,100", status=1, INITIAL_QUOTA="9")
    assert "a step failed: every function is led back" in said.err
    assert live(world) == before
    assert len(releases(world.objects)) == 1


def test_a_rollback_brings_code_configuration_and_secrets_back_and_is_verified(
    world: World, command: Command
) -> None:
    before = live(world)
    command(world, "secrets", "set", "STREAM_TOKEN_SECRET", given="another-stream-token-secret-of-the-test")
    command(world, "apply", INITIAL_QUOTA="9")
    assert live(world) != before
    said = command(world, "rollback", "--json")
    assert said.document["verification"]["ok"]
    assert live(world) == before
    assert world.live_values("events")["STREAM_TOKEN_SECRET"] == VALUES["STREAM_TOKEN_SECRET"]
    assert [release.note for release in releases(world.objects)] == ["rollback to 1", "apply", "apply"]


def test_a_rollback_across_one_roll_is_allowed_and_across_two_refused(world: World, command: Command) -> None:
    command(world, "apply", INITIAL_QUOTA="9")
    command(world, "rotate-keys")
    command(world, "rollback", "--to", "1")
    assert world.turned_away == []
    command(world, "rotate-keys")
    said = command(world, "rollback", "--to", "1", status=1)
    assert "refuse every delivery" in said.err
    assert "rollback --to 1 --present-secrets" in said.err
    command(world, "rollback", "--to", "1", "--present-secrets")
    assert world.turned_away == []
    assert world.live_values("actions")["QSTASH_CURRENT_SIGNING_KEY"] == world.qstash.keys.current


def test_a_rollback_to_a_revoked_token_is_refused(world: World, command: Command) -> None:
    world.qstash.tokens.add("another-token-of-the-test")
    command(world, "rotate-keys", "--secret", "QSTASH_TOKEN", given="another-token-of-the-test\n")
    command(world, "rollback")
    world.qstash.tokens = {"another-token-of-the-test"}
    command(world, "rollback")
    said = command(world, "rollback", "--to", "1", status=1)
    assert "could publish nothing" in said.err
    command(world, "rollback", "--to", "1", "--present-secrets", "--json")


def test_a_rollback_while_qstash_is_away_names_the_way_that_does_not_ask_it(
    world: World, command: Command
) -> None:
    command(world, "rotate-keys")
    world.qstash.away = True
    said = command(world, "rollback", "--to", "1", status=1)
    assert "QStash does not answer" in said.err
    assert "rollback --to 1 --present-secrets" in said.err
    command(world, "rollback", "--to", "1", "--present-secrets")
    assert world.turned_away == []


def test_releases_tell_who_what_when_and_what_changed(world: World, command: Command) -> None:
    command(world, "apply", INITIAL_QUOTA="9")
    said = command(world, "releases")
    newest, oldest = said.out.splitlines()[1:]
    assert "ann" in newest
    assert "actions (" in newest
    assert "paid_stream" not in newest
    assert "everything" in oldest
    assert [each["number"] for each in command(world, "releases", "--limit", "1", "--json").document] == [2]


def test_verify_sees_that_qstash_signs_with_a_key_that_nobody_takes(world: World, command: Command) -> None:
    """Functions take the present key and the next one: after two rolls at QStash, every delivery is refused."""
    world.qstash.roll()
    assert command(world, "verify", "--json").document["qstash_key_known"]

    world.qstash.roll()
    said = command(world, "verify", status=1)
    assert "QStash signs with a key that none of them takes" in said.out
    document = command(world, "verify", "--json", status=1).document
    assert (document["ok"], document["qstash_key_known"]) == (False, False)


# -- the kill switch ---------------------------------------------------------------------------------------------------


def test_stopping_touches_nothing_else_and_is_seen_everywhere(world: World, command: Command) -> None:
    command(world, "stop", "paid_stream", "--why", "it costs too much")
    assert world.writes == ["object stops/paid_stream.json", "ensure paid_stream/capacity"]
    for looking in ("status", "drift", "verify"):
        assert "paid_stream was stopped by ann: it costs too much" in command(world, looking).out
    assert command(world, "status", "--json").document["functions"]["paid_stream"]["stopped"]
    cells = command(world, "verify", "--json").document["cells"]
    assert {cell["status"] for cell in cells if cell["column"] == "paid_stream"} == {429}


def test_what_is_stopped_stays_so_through_an_apply_and_a_rollback(world: World, command: Command) -> None:
    command(world, "stop", "paid_stream")
    command(world, "apply", TASK_RETRIES="4")
    command(world, "rollback")
    assert world.machines["paid_stream"].resources[Kind.CAPACITY] == {"stopped": True}
    command(world, "start", "paid_stream")
    assert world.machines["paid_stream"].resources[Kind.CAPACITY] == {"stopped": False}
    command(world, "drift")


class Stopping(Quiet):
    """Somebody who stops a lane at the moment in which its new revision is to be asked."""

    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, number: int, total: int, step: Step) -> None:
        if isinstance(step, Probe) and step.function == "paid_stream":
            note_stop(self.world.objects, Stop("paid_stream", "ann", 0.0, ""))
            self.world.ensure("paid_stream", Kind.CAPACITY, {"stopped": True})


def test_what_is_stopped_in_the_middle_of_an_apply_is_no_reason_for_it_to_fail(world: World) -> None:
    opened = workspace(world, "beef" * 9, progress=Stopping(world))
    opened.apply(opened.as_files_want, "apply")
    assert world.machines["paid_stream"].resources[Kind.CAPACITY] == {"stopped": True}
    assert opened.plan(opened.as_files_want).empty


def test_what_is_started_is_asked_whether_it_works(world: World, command: Command) -> None:
    command(world, "stop", "paid_stream")
    world.deaf.add("paid_stream")
    said = command(world, "start", "paid_stream", status=1)
    assert "paid_stream does not answer as it must" in said.err
    assert "the log of paid_stream" in said.err
    assert "to stop it again: stop paid_stream" in said.err


# -- protection and the end --------------------------------------------------------------------------------------------


def test_a_protected_environment_is_changed_only_by_its_name_and_never_destroyed(
    world: World, command: Command
) -> None:
    world.protected = True
    for arguments in (("apply",), ("rollback",), ("rotate-keys",)):
        assert "--confirm memory" in command(world, *arguments, status=1).err
    command(world, "apply", "--confirm", "memory", INITIAL_QUOTA="9")
    said = command(world, "destroy", "--confirm", "memory", status=1)
    assert "is protected: destroy is refused" in said.err
    assert set(world.machines) == set(NAMES)


def test_destroying_leaves_nothing_but_the_secrets_and_those_only_when_they_are_kept(
    world: World, command: Command
) -> None:
    command(world, "destroy", "--confirm", "memory")
    assert world.writes.index("remove actions") < world.writes.index("remove paid_stream")
    assert (world.machines, world.bucket.held, world.qstash.schedules) == ({}, {}, {})
    assert set(world.store.held) == set(VALUES)
    said = command(world, "destroy", "--confirm", "memory", "--with-secrets", "--json")
    assert said.document == {"removed": [f"{len(VALUES)} secrets"]}
    assert world.store.held == {}
    assert "there was nothing of it" in command(world, "destroy", "--confirm", "memory").out
