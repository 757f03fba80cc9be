"""`docs/ops/`: rules, alerts and dashboard speak of metrics that there are, and of help that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from shared.actions.metrics import TALLIES, State, families
from shared.config import get_concurrency_config
from shared.routing import Lane
from shared.settings import Env
from shared.state.overview import MODEL_TIERS, LaneView, Overview, SlotView
from shared.state.sums import EndedSteps, Sums, Used
from shared.state.tallies import Tally

ROOT = Path(__file__).parents[2]
OPS = ROOT / "docs" / "ops"
LIMITS = get_concurrency_config({})
RULES = {
    name: [
        rule
        for group in yaml.safe_load((OPS / name).read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    for name in ("recording.rules.yml", "alerts.rules.yml")
}
RECORDED = {rule["record"]: rule for rule in RULES["recording.rules.yml"]}
ALERTS = {rule["alert"]: rule for rule in RULES["alerts.rules.yml"]}
TESTS = yaml.safe_load((OPS / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
DASHBOARD = json.loads((OPS / "sluice.dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{name: rule["expr"] for name, rule in (RECORDED | ALERTS).items()},
    **{
        f"{panel['title']} {target['refId']}": target["expr"].replace("$lane", ".*")
        for panel in PANELS
        for target in panel["targets"]
    },
}


def exposed() -> dict[str, set[str]]:
    """Return every metric that a scrape of a deployment where nothing has happened names, with its labels."""
    overview = Overview(
        at_ms=0,
        lanes=tuple(LaneView(lane, 0, 1, None, None) for lane in Lane),
        slots=tuple(SlotView(model, tier, 1, ()) for model, tier in MODEL_TIERS),
        open_tasks=0,
        overdue_tasks=0,
    )
    state = State(overview, Sums(0, 0, (), {}, 0), ())
    found: dict[str, set[str]] = {}
    for family in families(state, LIMITS, Env.DEV):
        labels = set(getattr(family, "_labelnames", ()))
        for suffix in {
            "counter": ["_total"],
            "histogram": ["_bucket", "_sum", "_count"],
            "info": ["_info"],
        }.get(family.type, [""]):
            found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


EXPOSED = exposed()


def selectors(node: Any) -> Iterator[Any]:
    """Yield what an expression selects, by the library's tree of it."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
        below = getattr(node, name, None)
        for each in below if isinstance(below, list) else [below]:
            if each is not None and not isinstance(each, str):
                yield from selectors(each)


def selected(expression: str) -> set[str]:
    return {each.name for each in selectors(promql_parser.parse(expression))}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_can_be_read_and_names_only_metrics_that_there_are(name: str) -> None:
    names = selected(EXPRESSIONS[name])
    assert names
    assert names <= EXPOSED.keys() | RECORDED.keys()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_selects_by_labels_that_its_metric_has(name: str) -> None:
    for each in selectors(promql_parser.parse(EXPRESSIONS[name])):
        if each.name in EXPOSED:
            assert {matcher.name for matcher in each.matchers.matchers} <= EXPOSED[each.name], each.name


def test_every_metric_is_looked_at_by_a_rule_an_alert_or_the_dashboard() -> None:
    looked_at = set().union(*map(selected, EXPRESSIONS.values()))
    ignored = {name for name in EXPOSED if not name.endswith(("_count", "_sum", "_bucket"))} - looked_at
    assert ignored == set()
    assert RECORDED.keys() <= looked_at


def test_the_detector_detects() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse("sum by (lane (x)")
    assert selected("sum(rate(a_total[5m])) / on (lane) group_left () b offset 1d") == {"a_total", "b"}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_name_says_its_level_its_metric_and_what_was_done(name: str) -> None:
    assert re.fullmatch(r"([a-z_]+:)?sluice_[a-z_]+:[a-z0-9_]+", name)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_help_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["summary"].endswith(".")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_shown_firing_and_not_firing(name: str) -> None:
    shown = [
        bool(check["exp_alerts"])
        for test in TESTS
        for check in test["alert_rule_test"]
        if check["alertname"] == name
    ]
    assert set(shown) == {True, False}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_asks_the_chosen_prometheus(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_no_two_panels_stand_on_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
        assert max(x for x, _ in cells) < 24
        assert [taken[cell] for cell in cells if cell in taken] == []
        taken |= dict.fromkeys(cells, panel["title"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_what_the_scripts_tally_is_there_with_zero_before_the_first() -> None:
    """A rate misses what a counter is born with; labels that a script is handed cannot be known beforehand."""
    for path in sorted((ROOT / "shared" / "state" / "lua").glob("*.lua")):
        for kind, label, lane in re.findall(r"tally\(now, '(\w+)', '(\w+)', ([^)]+)\)", path.read_text()):
            born = TALLIES[Tally(kind)]
            assert label in (born.of_none if lane == "''" else born.of_lanes).split(), path.name


def test_a_cost_does_not_depend_on_the_order_in_which_it_is_added_up() -> None:
    """Prometheus takes a counter that falls, be it by the last bit, for one that started anew."""
    ended = [
        EndedSteps(
            "paid_batch",
            "paid",
            "resume_summary",
            "deepseek-chat",
            "done",
            str(n),
            Used(cost_micros=n * 100_001),
        )
        for n in range(1, 50)
    ]

    def cost(steps: list[EndedSteps]) -> float:
        state = State(Overview(0, (), (), 0, 0), Sums(0, 0, tuple(steps), {}, 0), ())
        (family,) = [each for each in families(state, LIMITS, Env.DEV) if each.name == "sluice_model_cost"]
        return sum(each.value for each in family.samples)

    assert {cost(ended), cost(ended[::-1]), cost(ended[7:] + ended[:7])} == {
        sum(range(1, 50)) * 100_001 / 1e6
    }
