"""What moved since the last committed run."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from bench.figures import Figure, Goal
from bench.report.comparison import Verdict, compare
from bench.report.conditions import Conditions
from bench.report.results import Results
from bench.report.table import print_comparison

CONDITIONS = Conditions("2026-01-02", "abc", "CPython 3.11", "9.1", "Linux", "P", 2, 8.0)


def results(*figures: Figure) -> Results:
    return Results(CONDITIONS, figures)


def latency(*values: float) -> Figure:
    return Figure("Pipelines", "latency", "sluice", "ms", values)


def verdicts(before: Results, now: Results) -> list[Verdict]:
    return [movement.verdict for movement in compare(before, now).movements]


def test_a_figure_within_either_spread_has_not_moved() -> None:
    assert verdicts(results(latency(3.0, 5.0)), results(latency(4.9, 9.0))) == []
    assert verdicts(results(latency(4.9, 9.0)), results(latency(3.0, 5.0))) == []


def test_a_figure_beyond_both_spreads_is_worse_or_better() -> None:
    assert verdicts(results(latency(3.0, 5.0)), results(latency(5.1, 9.0))) == [Verdict.WORSE]
    assert verdicts(results(latency(5.1, 9.0)), results(latency(3.0, 5.0))) == [Verdict.BETTER]


def test_more_tasks_a_second_are_better_and_so_is_more_of_what_shall_be_at_least() -> None:
    speed = Figure("S", "speed", "x", "tasks/s", (10.0,))
    share = Figure("S", "share", "x", "%", (10.0,), Goal("≥ 5", at_least=5))
    for figure in (speed, share):
        assert verdicts(results(figure), results(dataclasses.replace(figure, values=(20.0,)))) == [
            Verdict.BETTER
        ]


def test_a_change_of_less_than_a_fiftieth_is_none() -> None:
    before = results(latency(100.0, 100.0))
    assert verdicts(before, results(latency(101.9, 101.9))) == []
    assert verdicts(before, results(latency(102.1, 102.1))) == [Verdict.WORSE]


def test_what_was_measured_once_must_change_by_a_tenth() -> None:
    for before, now in (((100.0,), (109.0, 109.0)), ((100.0, 100.0), (109.0,))):
        assert verdicts(results(latency(*before)), results(latency(*now))) == []
    assert verdicts(results(latency(100.0)), results(latency(111.0))) == [Verdict.WORSE]


def test_a_count_that_was_nothing_and_is_something_has_moved() -> None:
    assert verdicts(results(latency(0.0)), results(latency(1.0))) == [Verdict.WORSE]


def test_a_figure_that_is_new_or_gone_is_told_but_not_those_of_a_part_that_did_not_run() -> None:
    other = Figure("Pipelines", "memory", "sluice", "MB", (1.0,))
    elsewhere = Figure("Bridge", "memory", "sluice", "MB", (1.0,))
    assert verdicts(results(latency(1.0), elsewhere), results(other)) == [Verdict.NEW, Verdict.GONE]


def test_another_machine_is_said_before_anything_else() -> None:
    out = io.StringIO()
    there = Results(dataclasses.replace(CONDITIONS, cores=8), (latency(9.0),))
    print_comparison(compare(results(latency(1.0)), there), Console(file=out, width=120))
    assert out.getvalue().startswith("The last run was on another machine")
    assert "Pipelines: latency, sluice [ms]" in out.getvalue()


def test_nothing_moved_is_said_too() -> None:
    out = io.StringIO()
    print_comparison(compare(results(latency(1.0)), results(latency(1.0))), Console(file=out, width=120))
    assert "nothing moved beyond the spread" in out.getvalue()
