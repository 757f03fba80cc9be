"""A saved plan is performed as it was shown, or refused; a plan for people names what changes and no secret."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.errors import Refused, WorldMoved
from deployment.plan_file import load_plan, refuse_if_moved, save_plan
from deployment.planner import Canary, world_digest
from deployment.rendering import lines_of, progress_text, summary_of
from deployment.resources import Kind
from tests.unit.deployment.memory_kit import MemoryProvider, apply, desired, past, perform, plan, state


def now(provider: MemoryProvider) -> str:
    return world_digest(provider.observe(list(desired().states)), past(provider))


def test_a_plan_is_read_as_it_was_saved_and_does_the_same(tmp_path: Path) -> None:
    provider, twin = MemoryProvider(), MemoryProvider()
    planned = plan(desired(), provider, Canary((10, 100), 2))
    save_plan(planned, tmp_path / "plan")
    loaded = load_plan(tmp_path / "plan")
    assert loaded == planned
    refuse_if_moved(loaded, now(provider))
    perform(loaded, provider)
    perform(planned, twin)
    assert provider.machines == twin.machines


@pytest.mark.parametrize("what", ["capacity", "live", "release"])
def test_a_plan_is_refused_once_the_world_has_moved(what: str, tmp_path: Path) -> None:
    provider = MemoryProvider()
    apply(desired(), provider)
    save_plan(plan(desired(state("events", "beef00")), provider), tmp_path / "plan")
    if what == "capacity":
        provider.machines["lane_a"].resources[Kind.CAPACITY] = {"reserved": 1}
    elif what == "live":
        provider.machines["lane_a"].live = {"id:1": 100}
    else:
        apply(desired(lane_a={Kind.LOGS: {"days": 1}}), provider)
        provider.machines["lane_a"].resources[Kind.LOGS] = {"days": 30}
    with pytest.raises(WorldMoved, match="Make a new plan"):
        refuse_if_moved(load_plan(tmp_path / "plan"), now(provider))


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    save_plan(plan(desired(), MemoryProvider()), file)
    document = json.loads(file.read_text())
    document["steps"].pop()
    file.write_text(json.dumps(document))
    with pytest.raises(Refused, match="was changed after it was made"):
        load_plan(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": 1, "format": 99}', "\0"])
def test_what_is_no_plan_is_called_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(text)
    with pytest.raises(Refused, match="plan"):
        load_plan(tmp_path / "plan")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nowhere"):
        load_plan(tmp_path / "nowhere")


def test_people_see_what_it_was_and_what_it_will_be() -> None:
    provider = MemoryProvider()
    apply(desired(), provider)
    planned = plan(desired(replace(state("lane_a"), memory_mb=1024)), provider)
    (revision,) = [line for line in lines_of(planned) if line.text == "revision"]
    assert revision.details == ("memory_mb: 512 → 1024",)
    assert summary_of(planned) == "2 to make, 1 to move"
    assert summary_of(plan(desired(), provider)) == "nothing to do"


def test_people_see_a_variable_that_was_not_there_before_but_not_all_of_a_first_revision() -> None:
    provider = MemoryProvider()
    first = [line for line in lines_of(plan(desired(), provider)) if line.text == "revision"]
    assert [line.details for line in first] == [()] * len(first)

    apply(desired(), provider)
    lane = state("lane_a")
    planned = plan(desired(replace(lane, variables={**lane.variables, "SLOTS": "8"})), provider)
    (revision,) = [line for line in lines_of(planned) if line.text == "revision"]
    assert revision.details == ("variables.SLOTS: 8",)


def test_every_step_has_words_for_whom_it_waits() -> None:
    planned = plan(desired(), MemoryProvider(), Canary((10, 100), 5))
    assert all(progress_text(step) for step in planned.steps)
