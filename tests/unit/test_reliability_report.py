"""`make reliability`: it must see what broke, publish only whole runs, and publish what it measured."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from devstack.reliability import __main__ as program
from devstack.reliability.picture import draw
from devstack.reliability.progress import screen_for
from devstack.reliability.report import Files, page, write
from devstack.reliability.results import PROBLEMS_KEPT, Conditions, Results, Times, TrialResult
from devstack.reliability.running import run_sections
from devstack.reliability.sections import SECTIONS
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import SHORT, THOROUGH, Effort, Section, Trial
from devstack.stack import Stack

ROOT = Path(__file__).parents[2]
Run = Callable[[Stack, Tally, Effort], None]


def clean(_stack: Stack, tally: Tally, effort: Effort) -> None:
    tally.ran([], runs=effort.rounds)
    tally.recovery_ms += [900.0, 1100.0]


def losing(_stack: Stack, tally: Tally, _effort: Effort) -> None:
    tally.ran(
        [Problem("lost", "a task\nwith no | end"), Problem("doubled", "a coin"), Problem("wrong", "all")]
    )


def breaking_off(_stack: Stack, tally: Tally, _effort: Effort) -> None:
    tally.ran([])
    raise AssertionError(f"waited in vain for {ROOT}/build")


def idle(_stack: Stack, _tally: Tally, _effort: Effort) -> None:
    pass


def interrupted(_stack: Stack, _tally: Tally, _effort: Effort) -> None:
    raise KeyboardInterrupt


def section(*runs: Run, name: str = "fake") -> Section:
    trials = tuple(Trial(run.__name__.replace("_", " "), run) for run in runs)
    return Section(name, "Nothing is lost.", {"overrides": {"LEASE_SECONDS": "0.5"}, "proxied": True}, trials)


@dataclass
class Stacks:
    """Boots nothing; counts, and fails to boot or to end on request."""

    log_folder: Path
    booted: int = 0
    ended: int = 0
    fail_at: int | None = None
    fail_to_end_at: int | None = None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Stack]:
        self.booted += 1
        if self.booted == self.fail_at:
            raise OSError("no port is free")
        try:
            yield cast("Stack", self)
        finally:
            self.ended += 1
        if self.booted == self.fail_to_end_at:
            raise OSError("it hangs")

    def __call__(self, _section: Section) -> AbstractContextManager[Stack]:
        return self._opened()


class Watching:
    def __init__(self) -> None:
        self.told: list[str] = []

    def booting(self, section: Section) -> None:
        self.told.append(f"boot {section.name}")

    def began(self, section: Section, trial: Trial, tally: Tally) -> None:
        self.told.append(f"begin {trial.title}")

    def ended(self, section: Section, result: TrialResult) -> None:
        self.told.append(f"end {result.title}")


@pytest.fixture
def stacks(tmp_path: Path) -> Stacks:
    logs = tmp_path / "stack/logs"
    logs.mkdir(parents=True)
    (logs / "actions.log").write_text("what happened")
    return Stacks(logs)


def run(stacks: Stacks, *sections: Section, effort: Effort = THOROUGH) -> Results:
    ended = tuple(run_sections(sections, effort, Watching(), stacks))
    known = Conditions(
        date="2026-09-01",
        commit="0123456789ab",
        python="CPython 3.11",
        valkey="9.1",
        system="Linux",
        cores=2,
        rounds=effort.rounds,
        thorough=effort.thorough,
    )
    return Results(conditions=known, sections=ended)


@dataclass
class Program:
    """`make reliability`, which publishes into a folder of the test's own."""

    stacks: Stacks
    folder: Path

    @property
    def published(self) -> Files:
        return Files(self.folder / "docs/reliability.md", self.folder / "docs/reliability.json")

    @property
    def partial(self) -> Files:
        return Files(self.folder / "build/reliability.md", self.folder / "build/reliability.json")

    def __call__(self, arguments: list[str], *sections: Section) -> int:
        return program.main(arguments, sections, self.stacks, self.published, self.partial)


@pytest.fixture
def make_reliability(stacks: Stacks, tmp_path: Path) -> Program:
    return Program(stacks, tmp_path)


# -- running ---------------------------------------------------------------------------------------------------------


def test_a_trial_that_breaks_off_is_a_row_with_its_reason_and_the_others_go_on_with_a_fresh_stack(
    stacks: Stacks,
) -> None:
    broken, after = run(stacks, section(breaking_off, clean)).trials
    assert [broken.held, after.held] == [False, True]
    assert broken.problems[0].startswith("broke off: AssertionError: waited in vain for ./build (tests/unit/")
    assert (broken.runs, after.runs) == (1, THOROUGH.rounds)
    assert (stacks.booted, stacks.ended) == (2, 2)


def test_a_thread_of_a_trial_that_breaks_off_is_a_problem(stacks: Stacks) -> None:
    def reading(_stack: Stack, tally: Tally, _effort: Effort) -> None:
        def read() -> None:
            raise OSError("500 for http://127.0.0.1/events?token=secret.a-b")

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        tally.ran([])

    broken = run(stacks, section(reading)).trials[0]
    assert broken.wrong == 1
    assert broken.problems[0].startswith("wrong: a thread broke off: OSError: 500 for")
    assert "secret" not in broken.problems[0]


def test_a_trial_with_many_long_problems_is_told_in_bounded_lines_and_counted_whole(stacks: Stacks) -> None:
    def breaking(_stack: Stack, tally: Tally, _effort: Effort) -> None:
        tally.ran([Problem("lost", f"{number} " + "long\n" * 1000) for number in range(100)])

    broken = run(stacks, section(breaking)).trials[0]
    assert broken.lost == 100
    assert broken.problems[-1] == f"and {100 - PROBLEMS_KEPT} more"
    assert len("".join(broken.problems)) < 500 * PROBLEMS_KEPT


def test_the_logs_of_a_trial_that_did_not_hold_are_kept(stacks: Stacks) -> None:
    run(stacks, section(clean, losing))
    kept = stacks.log_folder.parent / "failed"
    assert [file.relative_to(kept).as_posix() for file in kept.glob("*/*")] == ["fake-2/actions.log"]


def test_trials_that_hold_share_a_stack_and_sections_do_not(stacks: Stacks) -> None:
    assert run(stacks, section(clean, clean), section(clean, name="other")).held
    assert stacks.booted == 2


def test_a_trial_in_which_nothing_ran_did_not_hold(stacks: Stacks) -> None:
    results = run(stacks, section(idle))
    assert not results.held
    assert results.trials[0].problems == ("nothing ran",)


def test_no_trial_at_all_is_no_success(stacks: Stacks) -> None:
    assert not run(stacks).held


def test_a_stack_that_does_not_boot_costs_one_trial(stacks: Stacks) -> None:
    stacks.fail_at = 1
    first, second = run(stacks, section(clean, clean)).trials
    assert first.problems[0].startswith("broke off: no stack: OSError: no port is free")
    assert second.held


def test_a_stack_that_does_not_end_is_a_finding_of_its_last_trial(stacks: Stacks) -> None:
    stacks.fail_to_end_at = 1
    first, second = run(stacks, section(clean, clean)).trials
    assert first.held
    assert second.problems[0].startswith("the stack did not end: OSError: it hangs")


def test_the_watcher_is_told_of_each_boot_beginning_and_end(stacks: Stacks) -> None:
    watching = Watching()
    list(run_sections([section(clean, idle)], SHORT, watching, stacks))
    assert watching.told == ["boot fake", "begin clean", "end clean", "begin idle", "end idle"]


def test_quantiles_are_measurements() -> None:
    times = Times.of([float(n) for n in range(200, 0, -1)])
    assert times is not None
    assert (times.p50_ms, times.p99_ms, times.samples_ms[-1]) == (100.0, 198.0, 200.0)
    assert Times.of([]) is None
    assert Times.of([7.0]) == Times(p50_ms=7.0, p99_ms=7.0, samples_ms=(7.0,))


# -- the program -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "is_published"),
    [
        ([], True),
        (["--rounds", "7"], True),
        (["--short"], False),
        (["--only", "fake"], False),
    ],
)
def test_only_a_whole_thorough_run_replaces_what_is_published(
    make_reliability: Program, arguments: list[str], is_published: bool
) -> None:
    assert make_reliability(arguments, section(clean), section(clean, name="other")) == 0
    published, partial = make_reliability.published, make_reliability.partial
    assert [published.page.exists(), published.data.exists()] == [is_published] * 2
    assert [partial.page.exists(), partial.data.exists()] == [not is_published] * 2


def test_files_may_be_named(make_reliability: Program, tmp_path: Path) -> None:
    page_file, data_file = tmp_path / "a/page.md", tmp_path / "b/data.json"
    arguments = ["--short", "--markdown", str(page_file), "--json", str(data_file)]
    assert make_reliability(arguments, section(clean)) == 0
    assert Results.from_json(data_file.read_text()).held
    assert "(page.svg)" in page_file.read_text()
    assert (tmp_path / "a/page.svg").exists()
    assert not make_reliability.partial.page.exists()


@pytest.mark.parametrize("run_one", [losing, breaking_off, idle])
def test_the_exit_status_is_1_when_anything_did_not_hold(
    make_reliability: Program, run_one: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_reliability(["--short"], section(run_one, clean)) == 1
    out = capsys.readouterr().out
    assert "1 of the trials did not hold" in out
    assert re.search(r"1/2 +BROKE +fake: ", out)
    assert re.search(r"2/2 +held +fake: clean", out)


def test_ctrl_c_ends_the_stack_and_writes_nothing(
    make_reliability: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_reliability([], section(clean, interrupted, clean)) == 130
    assert (make_reliability.stacks.booted, make_reliability.stacks.ended) == (1, 1)
    assert "interrupted" in capsys.readouterr().out
    for files in (make_reliability.published, make_reliability.partial):
        assert not files.page.exists()
        assert not files.data.exists()


def test_sections_may_be_chosen_and_are_listed(
    make_reliability: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = [section(clean, name=name) for name in ("one", "two", "three")]
    assert make_reliability(["--only", "one", "--only", "three"], *sections) == 0
    data = make_reliability.partial.data.read_text()
    assert [one.name for one in Results.from_json(data).sections] == ["one", "three"]
    capsys.readouterr()
    assert make_reliability(["--list"], *sections) == 0
    assert capsys.readouterr().out == "".join(f"{s.name}: Nothing is lost.\n  - clean\n" for s in sections)
    assert make_reliability.stacks.booted == 2


@pytest.mark.parametrize("arguments", [["--only", "none"], ["--rounds", "0"], ["--short", "--rounds", "2"]])
def test_wrong_usage_is_refused(make_reliability: Program, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        make_reliability(arguments, section(clean))


def test_a_page_is_written_again_from_its_figures_without_running_anything(
    make_reliability: Program,
) -> None:
    published = make_reliability.published
    assert make_reliability([], section(clean)) == 0
    page_before, data_before = published.page.read_text(), published.data.read_text()
    published.page.write_text("old")
    assert make_reliability(["--redraw", str(published.data)], section(clean)) == 0
    assert (published.page.read_text(), published.data.read_text()) == (page_before, data_before)
    assert make_reliability.stacks.booted == 1


def test_on_a_terminal_each_trial_leaves_its_line_too(stacks: Stacks) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    sections = [section(clean, losing)]
    with screen_for(console, sections) as screen:
        list(run_sections(sections, SHORT, screen, stacks))
    said = cast("io.StringIO", console.file).getvalue()
    assert "fake: clean" in said
    assert "lost: a task" in said


# -- the page --------------------------------------------------------------------------------------------------------


def test_figures_survive_the_file(stacks: Stacks) -> None:
    results = run(stacks, section(clean, losing), section(breaking_off))
    assert Results.from_json(results.to_json()) == results


def test_a_row_says_what_was_done_counted_and_timed_against_the_lease(stacks: Stacks) -> None:
    text = page(run(stacks, section(clean), effort=Effort(rounds=5, thorough=True)))
    assert "| Clean | 5 | 5 | 0 | 0 | 0 | 1.80 / 2.20 leases (900 / 1100 ms) |" in text
    assert "Lease 0.5 s; `proxied=yes`." in text
    assert "**1 trial, 5 faults in 5 runs: 0 lost, 0 doubled, 0 wrong.**" in text


def test_what_did_not_hold_is_on_the_page(stacks: Stacks) -> None:
    text = page(run(stacks, section(losing, breaking_off)))
    assert "| Losing | 1 | 1 | 1 | 1 | 1 |" in text
    assert "- **losing**: lost: a task with no | end" in text
    assert "2 of the trials did not hold" in text
    assert str(ROOT) not in text


def test_what_else_was_measured_stands_below_the_table(stacks: Stacks) -> None:
    def noting(_stack: Stack, tally: Tally, _effort: Effort) -> None:
        tally.ran([])
        tally.notes.append("97 % got in at their next try")

    assert "- noting: 97 % got in at their next try.\n" in page(run(stacks, section(noting)))


def test_the_picture_has_a_dot_for_each_time_and_all_of_it_within_its_frame(stacks: Stacks) -> None:
    def timed(_stack: Stack, tally: Tally, _effort: Effort) -> None:
        tally.ran([])
        tally.cancel_ms += [3.0, 120.0, 160.0]

    picture = draw(run(stacks, section(clean, timed)))
    assert picture is not None
    drawn = ET.fromstring(picture)
    assert len(drawn.findall("{*}circle")) == 5
    _, _, width, height = (float(part) for part in drawn.attrib["viewBox"].split())
    for mark in [*drawn.findall("{*}circle"), *drawn.findall("{*}text")]:
        x, y = (float(mark.attrib.get(c) or mark.attrib[f"c{c}"]) for c in "xy")
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_without_times_there_is_no_picture_and_no_reference_to_one(stacks: Stacks, tmp_path: Path) -> None:
    where = Files(tmp_path / "r.md", tmp_path / "r.json")
    write(run(stacks, section(clean)), where)
    assert where.picture.exists()
    write(run(stacks, section(losing)), where)
    assert not where.picture.exists()
    assert ".svg" not in where.page.read_text()


# -- the registry ----------------------------------------------------------------------------------------------------


def test_the_registry_has_every_section_once() -> None:
    modules = (ROOT / "devstack/reliability").glob("*.py")
    defined = sorted(
        path.stem for path in modules if re.search(r"^SECTION\b", path.read_text(), re.MULTILINE)
    )
    assert sorted(section.name for section in SECTIONS) == defined


def test_no_title_stands_twice_in_a_section() -> None:
    for one in SECTIONS:
        titles = [trial.title for trial in one.trials]
        assert len(titles) == len(set(titles))
