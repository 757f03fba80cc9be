"""`scripts/sluice limits set`, `stop`, `drain` and their opposites, as an operator types them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.routing import Lane
from shared.state.controls import read_controls, recent_changes
from shared.state.store import Store
from tests.integration.tool_kit import Ran, call
from tests.integration.transitions_kit import Bench


class Tool:
    """The program, on the test's Redis."""

    def __init__(self, redis_url: str) -> None:
        self._environ = {"REDIS_URL": redis_url, "LOGNAME": "ada"}

    def __call__(self, command: str, **environ: str) -> Ran:
        return self.run(command.split(" "), **environ)

    def run(self, arguments: Sequence[str], **environ: str) -> Ran:
        return call(*arguments, **{**self._environ, **environ})


@pytest.fixture
def sluice(redis_url: str) -> Tool:
    return Tool(redis_url)


def test_a_limit_is_set_shown_and_cleared(sluice: Tool, store: Store) -> None:
    ran = sluice("limits set slots deepseek-chat:paid 3 --for 1h --reason slow")
    assert ran.status == 0
    assert ran.out.startswith("slots of deepseek-chat:paid: 3, until ")
    control = read_controls(store).slots["deepseek-chat:paid"]
    assert (control.value, control.by, control.reason) == (3, "ada", "slow")
    assert control.until_ms == control.since_ms + 3_600_000
    shown = {limit["what"]: limit for limit in json.loads(sluice("limits --json").out)}
    limit = shown["slots of deepseek-chat:paid"]
    assert (limit["value"], limit["default"], limit["set"]["value"]) == (5, 5, 3)
    assert shown["slots of deepseek-reasoner:paid"]["set"] is None
    assert "ada, for" in sluice("limits").out
    assert sluice("limits clear slots deepseek-chat:paid").status == 0
    assert read_controls(store).slots == {}


def test_places_of_a_lane_are_set_by_whom_one_says(sluice: Tool, store: Store) -> None:
    sluice("limits set places paid_stream 0 --reason r --by grace")
    assert read_controls(store).places[Lane.PAID_STREAM].by == "grace"
    assert "grace, until it is cleared: r" in sluice("limits").out


def test_a_lane_is_stopped_and_started(sluice: Tool, store: Store) -> None:
    ran = sluice("stop paid_stream --reason slow", MAX_WAIT_SECONDS_STREAM="77")
    assert ran.out.splitlines() == [
        "paid_stream is stopped, by ada.",
        "A task may wait 77 s for its turn; one that waits longer ends wait_timeout, refunded.",
    ]
    assert set(read_controls(store).stopped) == {Lane.PAID_STREAM}
    assert sluice("start paid_stream").out == "paid_stream works, by ada.\n"
    assert sluice("start paid_stream").out == "paid_stream works; it was so before.\n"


def test_a_stop_shorter_than_the_waiting_budget_costs_no_task(sluice: Tool) -> None:
    assert "wait_timeout" not in sluice("stop paid_stream --reason slow --for 5m").out


def test_new_tasks_are_refused_and_admitted_again(sluice: Tool, store: Store) -> None:
    assert sluice("drain --reason deploying --for 10m").status == 0
    assert Bench(store).ask().status == "draining"
    assert sluice("resume").status == 0
    assert Bench(store).ask().status == "accepted"


def test_every_change_is_listed_newest_first(sluice: Tool) -> None:
    sluice("limits set slots deepseek-chat:paid 3 --reason slow")
    sluice("stop paid_stream --reason down")
    sluice("resume")  # nothing to do: no change
    changes = json.loads(sluice("limits changes --json").out)
    assert [(change["kind"], change["by"], change["reason"]) for change in changes] == [
        ("stopped", "ada", "down"),
        ("slots", "ada", "slow"),
    ]
    assert "slots of deepseek-chat:paid: as configured → 3" in sluice("limits changes").out
    assert "paid_stream stopped" not in sluice("limits changes --limit 0").out


def test_a_change_as_json_says_what_was_so_before(sluice: Tool) -> None:
    sluice("stop paid_stream --reason one")
    changed = sluice("stop paid_stream --reason two --json").json
    assert (changed["before"]["reason"], changed["after"]["reason"]) == ("one", "two")


def test_status_says_what_is_set_over_what_is_configured(sluice: Tool) -> None:
    assert "instead of" not in sluice("status").out
    for command in (
        "drain --reason deploying",
        "stop paid_batch --reason down",
        "limits set places paid_stream 7 --reason campaign",
        "limits set slots glm-4.5-flash:free 1 --reason slow",
    ):
        assert sluice(command).status == 0
    told = sluice("status").out
    assert "draining, nothing new is admitted: ada, until it is cleared: deploying" in told
    assert "paid_batch is stopped: ada, until it is cleared: down" in told
    assert "places of paid_stream: 7 instead of 100: ada" in told
    assert "slots of glm-4.5-flash:free: 1 instead of 2: ada" in told
    view = sluice("status --json").json
    lanes = {lane["lane"]: lane for lane in view["lanes"]}
    assert (lanes["paid_stream"]["places"], lanes["paid_stream"]["configured_places"]) == (7, 100)
    assert lanes["paid_batch"]["stopped"]["reason"] == "down"
    assert view["draining"]["by"] == "ada"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "limits set slots paid_stream 3 --reason r",
            "slots are of a model and tier: one of deepseek-chat:paid",
        ),
        ("limits set places deepseek-chat:paid 3 --reason r", "places are of a lane: one of paid_stream"),
        ("limits set slots deepseek-chat:paid 0 --reason r", "must be from 1 to 10000, not 0"),
        ("limits set slots deepseek-chat:paid many --reason r", "invalid int value: 'many'"),
        ("limits set slots deepseek-chat:paid 3", "--reason"),
        ("stop paid_stream --reason r --for 5", "'5' is no duration like 90s, 15m, 2h or 7d"),
        ("stop paid_stream --reason r --for 0s", "'0s' is no duration"),
        ("stop paid_stream --reason r --for 9999d", "for: must be above 0 and at most 7776000 seconds"),
        ("stop nowhere --reason r", "invalid choice: 'nowhere'"),
        ("drain --reason r --by ", "--by"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(
    sluice: Tool, store: Store, command: str, says: str
) -> None:
    ran = sluice(command)
    assert ran.status == 2
    assert says in ran.err
    assert store.command("DBSIZE") == 0


def test_the_commands_of_the_page_do_what_they_say(sluice: Tool, store: Store) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    for heading in ("## Changing things at run time", "## Usage and cost"):
        (block, *_) = re.findall(r"```sh\n(.*?)```", page.split(heading, 1)[1], re.DOTALL)
        commands = re.findall(r"^scripts/sluice ([^>\n]+)", block, re.MULTILINE)
        assert len(commands) >= 3
        for command in commands:
            ran = sluice.run(shlex.split(command))
            assert (ran.status, ran.err) == (0, ""), command
    assert len(recent_changes(store)) == 8
    controls = read_controls(store)
    assert (controls.slots, controls.places, controls.stopped, controls.draining) == ({}, {}, {}, None)


def test_without_redis_nothing_is_known_to_have_changed(sluice: Tool) -> None:
    ran = sluice("drain --reason r", REDIS_URL="redis://127.0.0.1:1")
    assert ran.status == 3
    assert "It may have been done all the same: `scripts/sluice limits changes` says." in ran.err


def test_limits_without_any_redis_tell_what_is_configured_and_what_they_do_not_know() -> None:
    ran = call("limits")
    assert ran.status == 0
    assert "slots of deepseek-chat:paid" in ran.out
    assert "what operators have set is not shown" in ran.err
