"""The benchmark's report: what is met, how it is written, what its data keeps."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from bench.figures import Figure, Goal
from bench.report.conditions import Conditions
from bench.report.matrix import matrix_of
from bench.report.numbers import median_and_spread, short
from bench.report.page import Files, page, write
from bench.report.plots import Axis, draw
from bench.report.results import Results
from bench.report.table import print_results

CONDITIONS = Conditions(
    date="2026-01-02",
    commit="abc",
    python="CPython 3.11",
    valkey="9.1",
    system="Linux x86_64",
    processor="One & Only",
    cores=2,
    memory_gib=8.0,
    versions={"celery": "5.7"},
    seconds=12.0,
)
FIGURES = (
    Figure(
        "Pipelines", "added time to first token, p50", "sluice", "ms", (4.0, 5.0, 9.0), Goal("≤ 6", at_most=6)
    ),
    Figure(
        "Pipelines", "added time to first token, p50", "celery", "ms", (3.0, 3.5), note="without <admission>"
    ),
    Figure("Pipelines", "tasks at full speed", "sluice", "tasks/s", (20.0,), Goal("≥ 24", at_least=24)),
    Figure("Bridge", "memory", "sluice", "KiB", (0.0,)),
)
RESULTS = Results(CONDITIONS, FIGURES)


def files_in(folder: Path) -> Files:
    return Files(page=folder / "docs/p.md", data=folder / "docs/p.json", pictures=folder / "docs/images")


def test_a_goal_is_met_by_the_median_and_at_its_very_limit() -> None:
    assert FIGURES[0].median == 5.0
    assert [FIGURES[0].is_met, FIGURES[1].is_met, FIGURES[2].is_met] == [True, None, False]
    assert Goal("≤ 6", at_most=6).met(6)
    assert not Goal("≤ 6", at_most=6).met(6.1)
    assert Goal("≥ 6", at_least=6).met(6)


def test_a_figure_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="Bridge, memory, sluice: no value"):
        Figure("Bridge", "memory", "sluice", "KiB", ())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (3.0, "3"),
        (3.14159, "3.14"),
        (10, "10"),
        (99.96, "100"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_three_digits_and_no_idle_zeros(value: float, text: str) -> None:
    assert short(value) == text


def test_a_spread_is_shown_only_where_runs_differ() -> None:
    assert median_and_spread(FIGURES[0]) == "5 (4–9)"
    assert median_and_spread(FIGURES[2]) == "20"


def test_data_is_read_back_as_it_was_written() -> None:
    assert Results.from_json(RESULTS.to_json()) == RESULTS


def test_data_keeps_four_digits_and_a_line_for_a_list() -> None:
    long = Results(CONDITIONS, (Figure("S", "n", "x", "ms", (1.23456789, 2.0)),))
    assert '"values": [1.235, 2.0]' in long.to_json()


def test_the_page_says_of_every_goal_whether_it_is_met(tmp_path: Path) -> None:
    text = page(RESULTS, files_in(tmp_path))
    assert "| Pipelines: added time to first token, p50 | 5 ms | ≤ 6 | met |" in text
    assert "| Pipelines: tasks at full speed | 20 tasks/s | ≥ 24 | **not met** |" in text
    assert "1 of the 2 goals measured here are met." in text


def test_the_page_has_a_column_for_each_subject_and_a_dash_for_what_was_not_measured(tmp_path: Path) -> None:
    text = page(RESULTS, files_in(tmp_path))
    assert "|  | sluice | celery |" in text
    assert "| tasks at full speed, tasks/s | 20 | – |" in text
    assert "- added time to first token, p50, celery: without <admission>" in text


def test_the_page_names_machine_and_versions(tmp_path: Path) -> None:
    text = page(RESULTS, files_in(tmp_path))
    assert "Linux x86_64, One & Only, 2 cores, 8 GiB" in text
    assert "celery 5.7" in text


def test_a_picture_is_well_formed_and_has_a_bar_for_each_figure() -> None:
    root = ET.fromstring(draw(RESULTS, "Pipelines"))
    bars = [
        each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") in {"bar", "own"}
    ]
    assert len(bars) == 3
    assert [each.get("class") for each in bars] == ["own", "bar", "own"]


def test_a_bar_is_as_long_as_its_value_and_logarithmic_only_where_values_are_far_apart() -> None:
    near, far = (
        Axis(FIGURES[:2]),
        Axis((Figure("S", "n", "a", "u", (1.0,)), Figure("S", "n", "b", "u", (1000.0,)))),
    )
    assert near.at(8.0) == pytest.approx(2 * near.at(4.0))
    assert not near.is_logarithmic
    assert far.is_logarithmic
    assert 0 < far.at(1.0) < far.at(10.0) < far.at(1000.0)
    assert far.at(0) == 0


def test_writing_leaves_a_picture_for_each_section_and_none_of_a_former_one(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.pictures.mkdir(parents=True)
    for name in ("performance-of-old.svg", "other.svg"):
        (files.pictures / name).touch()
    write(RESULTS, files)
    left = sorted(each.name for each in files.pictures.iterdir())
    assert left == ["other.svg", "performance-bridge.svg", "performance-pipelines.svg"]
    assert "](images/performance-bridge.svg)" in files.page.read_text(encoding="utf-8")


def test_the_terminal_names_the_goals_that_are_not_met() -> None:
    out = io.StringIO()
    print_results(RESULTS, Console(file=out, width=160))
    assert "not met  Pipelines: tasks at full speed, sluice: 20 tasks/s (≥ 24)" in out.getvalue()
    assert "1 of 2 goals met" in out.getvalue()


def test_times_of_another_processor_are_another_machines() -> None:
    assert CONDITIONS.same_machine(dataclasses.replace(CONDITIONS, date="2027-01-01", commit="def"))
    assert not CONDITIONS.same_machine(dataclasses.replace(CONDITIONS, processor="other"))


def test_one_measure_of_many_subjects_takes_a_row_for_each() -> None:
    stretches = tuple(Figure("S", "time", f"stretch {number}", "ms", (1.0,)) for number in range(8))
    assert matrix_of(stretches).subjects == ("time, ms",)
    assert [name for name, _ in matrix_of(stretches).rows] == [f"stretch {number}" for number in range(8)]
    assert matrix_of(stretches[:7]).subjects[0] == "stretch 0"


def test_a_long_name_of_a_subject_has_room() -> None:
    short_named, long_named = (Axis((Figure("S", "n", name, "u", (1.0,)),)) for name in ("a", "a" * 40))
    assert long_named.zero > short_named.zero
    assert long_named.zero + long_named.at(1.0) == short_named.zero + short_named.at(1.0)


def test_a_run_of_one_part_keeps_what_others_had_measured() -> None:
    again = Figure("Bridge", "memory", "sluice", "KiB", (7.0,))
    completed = Results(CONDITIONS, (again,)).completed_by(RESULTS)
    assert completed.figures == (again, *FIGURES[:3])
