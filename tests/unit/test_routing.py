"""The routing table: the one of the design, complete, and served by somebody."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from shared import routing
from shared.routing import (
    ROUTES,
    Action,
    Kind,
    Lane,
    Model,
    Plan,
    Provider,
    Template,
    Tier,
    models_of,
    serves,
    templates_of,
)

ROOT = Path(__file__).resolve().parents[2]
PLANS = [value for value in vars(routing).values() if isinstance(value, Plan)]

DESIGN = """
| `resume_summary` | `paid_batch`, `deepseek-chat` | `free_batch`, `glm-4.5-flash` | structured |
| `detailed_resume_summary` | `paid_batch`, `deepseek-reasoner` | `free_batch`, `glm-4.5-flash` | structured |
| `job_vision_summary` | `paid_vision`, `glm-4.1v-thinking-flash` | `free_batch`, `glm-4.1v-thinking-flash` | structured |
| `job_match` | `paid_stream`, `deepseek-reasoner` | `free_stream`, `glm-4.5-flash` | streamed |
| `resume_customize` | `paid_batch`, `deepseek-chat` | `free_batch`, `glm-4.5-flash` | structured |
| `interview_prep` | `paid_stream`, `deepseek-chat` | `free_stream`, `glm-4.5-flash` | streamed |
"""
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in DESIGN.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_template_goes_where_the_design_sends_it(row: list[str]) -> None:
    template = Template(row[0].strip("`"))
    for tier, cell in zip((Tier.PAID, Tier.FREE), row[1:3], strict=True):
        route = ROUTES[template, tier]
        assert f"`{route.lane}`, `{route.model}`" == cell
    assert template.streams == (row[3] == "streamed")


def test_every_template_has_a_route_for_every_tier_and_there_is_no_other_route() -> None:
    assert set(ROUTES) == set(product(Template, Tier))
    assert [row[0].strip("`") for row in ROWS] == list(Template)


@pytest.mark.parametrize(("template", "tier"), ROUTES)
def test_a_route_never_leads_from_one_tier_into_the_others_lane(template: Template, tier: Tier) -> None:
    """D8: a free task never runs in a paid lane, nor the other way round."""
    assert ROUTES[template, tier].lane.tier is tier


@pytest.mark.parametrize(("template", "tier"), ROUTES)
def test_every_route_is_served_by_exactly_one_lane_of_its_tier(template: Template, tier: Tier) -> None:
    """D28: no route that the producer builds and nobody serves. D7: both sides read the one table."""
    serving = [lane for lane in Lane if lane.tier is tier and serves(lane, template)]
    assert serving == [ROUTES[template, tier].lane]


@pytest.mark.parametrize("lane", Lane)
def test_every_lane_serves_something_and_has_its_function(lane: Lane) -> None:
    """D28."""
    assert any(serves(lane, template) for template in Template)
    assert (ROOT / "functions" / lane / "main.py").is_file()


def test_every_function_that_is_no_producer_or_bridge_is_a_lane() -> None:
    folders = {file.parent.name for file in (ROOT / "functions").glob("*/main.py")}
    assert folders - {"actions", "events"} == set(Lane)


def test_streamed_text_never_waits_behind_structured_tasks() -> None:
    for (template, _), route in ROUTES.items():
        assert (route.lane.kind is Kind.STREAM) == template.streams


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_has_one_name_everywhere(lane: Lane) -> None:
    assert lane == f"{lane.tier}_{lane.kind}"
    assert lane.url_variable == f"{lane.tier}_{lane.kind}_URL".upper()


def test_paths_are_those_of_the_design_and_no_two_are_the_same() -> None:
    paths = [lane.path(template) for lane in Lane for template in Template if serves(lane, template)]
    assert Lane.PAID_STREAM.path(Template.JOB_MATCH) == "/paid/stream/job_match"
    assert Lane.FREE_BATCH.path(Template.JOB_VISION_SUMMARY) == "/free/batch/job_vision_summary"
    assert len(set(paths)) == len(paths) == len(ROUTES)


@pytest.mark.parametrize(
    ("lane", "models"),
    [
        (Lane.PAID_STREAM, {Model.DEEPSEEK_REASONER, Model.DEEPSEEK_CHAT}),
        (Lane.FREE_STREAM, {Model.GLM_FLASH}),
        (Lane.PAID_BATCH, {Model.DEEPSEEK_CHAT, Model.DEEPSEEK_REASONER}),
        (Lane.FREE_BATCH, {Model.GLM_FLASH, Model.GLM_VISION}),
        (Lane.PAID_VISION, {Model.GLM_VISION}),
    ],
)
def test_a_lane_calls_these_models_and_no_other(lane: Lane, models: set[Model]) -> None:
    assert models_of(lane) == models
    assert len({model.provider for model in models}) == 1, "a lane holds one provider's key"


def test_every_model_has_a_provider() -> None:
    assert {model.provider for model in Model} == set(Provider)
    assert all(model.provider is Provider.DEEPSEEK for model in Model if model.startswith("deepseek"))


def test_an_action_costs_what_the_design_says() -> None:
    costs = {(plan.action, plan.steps): plan.cost for plan in PLANS}
    assert costs == {
        (Action.UPLOAD_RESUME, (Template.RESUME_SUMMARY,)): 1,
        (Action.UPLOAD_DETAILED_RESUME, (Template.DETAILED_RESUME_SUMMARY,)): 1,
        (Action.CREATE_SERVICE, (Template.JOB_MATCH,)): 2,
        (Action.CREATE_SERVICE, (Template.JOB_VISION_SUMMARY, Template.JOB_MATCH)): 2,
        (Action.CUSTOMIZE_RESUME, (Template.RESUME_CUSTOMIZE,)): 2,
        (Action.INTERVIEW_TIPS, (Template.INTERVIEW_PREP,)): 2,
    }


def test_every_action_has_a_plan_and_every_template_a_step() -> None:
    assert {plan.action for plan in PLANS} == set(Action)
    assert {template for plan in PLANS for template in plan.steps} == set(Template)


def test_the_table_cannot_be_changed_while_it_runs() -> None:
    with pytest.raises(TypeError):
        ROUTES[Template.JOB_MATCH, Tier.FREE] = ROUTES[Template.JOB_MATCH, Tier.PAID]  # type: ignore[index]


def test_a_lane_serves_at_least_one_template_and_its_templates_are_those_it_serves() -> None:
    for lane in Lane:
        assert templates_of(lane)
        assert set(templates_of(lane)) == {template for template in Template if serves(lane, template)}
