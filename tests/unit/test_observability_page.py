"""`docs/observability.md`, the register of what is logged, the calls that log, and the metrics say the same."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.actions.metrics import State, families
from shared.config import get_concurrency_config
from shared.log_events import BOUND, ERROR_FACT, FACTS, LogEvent
from shared.log_lines import shown
from shared.settings import Env
from shared.state.overview import Overview
from shared.state.sums import Sums

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "shared").rglob("*.py"))
}
OF_EVENT = {"error", "traced", "level", "reason"}
"""What `event` itself takes by name."""
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading, each cell without its marks."""
    section = re.split(r"\n#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" |")] for line in lines]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of `event` with one of the register's events, by where it stands."""
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and any(map(named_event, node.args)):
                yield f"{name}:{node.lineno}", node


def named_event(node: ast.AST) -> str | None:
    is_one = (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "LogEvent"
    )
    return node.attr if is_one and isinstance(node, ast.Attribute) else None


CALLS = dict(calls())


def test_the_page_lists_every_event_with_its_level_its_sentence_and_its_facts() -> None:
    registered = [
        [what.event, logging.getLevelName(what.level), what.says, ", ".join(what.facts)] for what in LogEvent
    ]
    assert rows("Events") == registered


def test_the_page_explains_every_fact() -> None:
    explained = rows("Facts")
    assert [name for name, *_ in explained] == list(FACTS)
    assert all(meaning for _, meaning, *_ in explained)


def test_the_page_lists_every_metric_with_its_type_and_its_labels() -> None:
    limits = get_concurrency_config({})
    state = State(Overview(0, (), (), 0, 0), Sums(0, 0, (), {}, 0), ())
    known = []
    for family in families(state, limits, Env.DEV):
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = "env" if family.type == "info" else ", ".join(getattr(family, "_labelnames", ()))
        known.append([name, family.type, labels, family.documentation])
    assert rows("Metrics") == known


@pytest.mark.parametrize("place", CALLS)
def test_a_call_gives_facts_that_the_register_knows_of_its_event(place: str) -> None:
    call = CALLS[place]
    given = {keyword.arg for keyword in call.keywords if keyword.arg} - OF_EVENT
    of_events = [LogEvent[name] for name in map(named_event, call.args) if name]
    known = {*BOUND, ERROR_FACT, *(fact for what in of_events for fact in what.facts)}
    if isinstance(call.func, ast.Name):  # a helper of a module's own has its own arguments
        assert given <= known


def test_every_event_is_logged_somewhere() -> None:
    used = {
        name
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if (name := named_event(node)) is not None
    }
    assert used == {what.name for what in LogEvent}


def test_nothing_of_ours_is_logged_that_the_register_does_not_know() -> None:
    plain = [
        f"{name}:{node.lineno}"
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"log", "logger"}
        and node.func.attr in LEVELS
    ]
    assert [place for place in plain if not place.startswith("shared/logs.py:")] == []


@pytest.mark.parametrize("what", LogEvent)
def test_a_name_of_the_register_is_a_word_that_a_line_can_show(what: LogEvent) -> None:
    assert shown(what.event) == what.event
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", fact) for fact in what.facts)
    assert not re.search(r"[\x00-\x1f]|\.$", what.says)
