"""The table's cells, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from devstack.reliability.results import Results, SectionResult, Times, TrialResult

COUNTS = ("faults", "runs", "lost", "doubled", "wrong")
RECOVERY = "next attempt after, p50 / p99"
CANCEL = "call closed after, p50 / p99"
ABSENT = "–"


def headings(section: SectionResult) -> tuple[str, ...]:
    """Return the columns that a section's rows need: times only where something was timed."""
    return ("what is done to it", *COUNTS, *(column for column, _ in _timed(section)))


def cells(section: SectionResult, trial: TrialResult) -> tuple[str, ...]:
    """Return a row, in the order of `headings`."""
    counts = tuple(str(getattr(trial, name)) for name in COUNTS)
    timed = (times(getattr(trial, field), section.lease_seconds) for _, field in _timed(section))
    return (trial.title[:1].upper() + trial.title[1:], *counts, *timed)


def times(measured: Times | None, lease_seconds: float) -> str:
    """Return both quantiles, as multiples of the lease and in ms."""
    if measured is None:
        return ABSENT
    in_leases = [f"{value / 1000 / lease_seconds:.2f}" for value in (measured.p50_ms, measured.p99_ms)]
    in_ms = [f"{value:.0f}" for value in (measured.p50_ms, measured.p99_ms)]
    return f"{' / '.join(in_leases)} leases ({' / '.join(in_ms)} ms)"


def summary(results: Results) -> str:
    """Return what all of it came to, in one line."""
    trials = results.trials
    total = {name: sum(getattr(trial, name) for trial in trials) for name in COUNTS}
    broken = sum(not trial.held for trial in trials)
    found = f"{total['lost']} lost, {total['doubled']} doubled, {total['wrong']} wrong"
    rows = f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'}"
    did = f"{rows}, {total['faults']} faults in {total['runs']} runs: {found}"
    return f"{did}; {broken} of the trials did not hold" if broken else did


def print_table(results: Results, console: Console) -> None:
    """Print a table of each section, and the problems below."""
    for section in results.sections:
        table = Table(title=section.name, title_justify="left", title_style="bold", expand=True)
        for number, column in enumerate(headings(section)):
            table.add_column(column, overflow="fold", ratio=1 if number == 0 else None)
        for trial in section.trials:
            table.add_row(*cells(section, trial), style=None if trial.held else "red")
        console.print(table)
    style = "bold green" if results.held else "bold red"
    console.print(summary(results), style=style, highlight=False)


def markdown_table(section: SectionResult) -> str:
    """Return a section's rows as a Markdown table, its numbers at the right."""
    columns = headings(section)
    ruler = ["---", *["--:"] * len(COUNTS), *["---"] * (len(columns) - 1 - len(COUNTS))]
    return _markdown([columns, ruler, *(cells(section, trial) for trial in section.trials)])


def overview(results: Results) -> str:
    """Return a Markdown table with a row for each section, which leads to its place on the page."""
    rows: list[Sequence[str]] = [("section", "trials", *COUNTS), ("---", "--:", *["--:"] * len(COUNTS))]
    for section in results.sections:
        counts = (str(sum(getattr(trial, name) for trial in section.trials)) for name in COUNTS)
        link = f"[{heading(section)}](#{heading(section).lower().replace(' ', '-')})"
        rows.append((link, str(len(section.trials)), *counts))
    return _markdown(rows)


def heading(section: SectionResult) -> str:
    return section.name.replace("_", " ").capitalize()


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _timed(section: SectionResult) -> list[tuple[str, str]]:
    columns = ((RECOVERY, "recovery"), (CANCEL, "cancel"))
    return [
        (column, field)
        for column, field in columns
        if any(getattr(trial, field) is not None for trial in section.trials)
    ]
