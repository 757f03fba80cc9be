"""The terminal's tables: a section each, a row a figure, a column a subject; and what moved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.figures import Figure
from bench.report.comparison import Comparison, Movement, Verdict
from bench.report.matrix import Matrix, matrix_of
from bench.report.numbers import median_and_spread, short
from bench.report.results import Results

_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red", Verdict.NEW: "cyan", Verdict.GONE: "yellow"}


def print_results(results: Results, console: Console) -> None:
    """Print every section, then how many goals are met and which are not."""
    for section in results.sections:
        console.print(_table(section, matrix_of(results.of_section(section))))
    missed = [figure for figure in results.with_goal if not figure.is_met]
    for figure in missed:
        console.print(Text.assemble(("not met  ", "bold red"), _said(figure)))
    met = len(results.with_goal) - len(missed)
    console.print(
        f"{met} of {len(results.with_goal)} goals met", style="bold red" if missed else "bold green"
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what moved beyond the spreads of both runs."""
    if not comparison.same_machine:
        console.print(
            "The last run was on another machine: what follows may be the machine's doing.", style="yellow"
        )
    if not comparison.movements:
        console.print("Since the last committed run nothing moved beyond the spread.")
        return
    table = Table(title="Moved since the last committed run", title_justify="left", title_style="bold")
    for column in ("", "figure", "before", "now"):
        table.add_column(column, overflow="fold")
    for verdict in (Verdict.WORSE, Verdict.BETTER, Verdict.NEW, Verdict.GONE):
        for movement in comparison.of(verdict):
            table.add_row(*_moved(movement), style=_STYLES[verdict])
    console.print(table)


def _table(section: str, matrix: Matrix) -> Table:
    table = Table(title=section, title_justify="left", title_style="bold", expand=True, show_lines=True)
    table.add_column("", overflow="fold", ratio=3)
    for subject in matrix.subjects:
        table.add_column(subject, justify="right", overflow="fold", ratio=2)
    if matrix.has_goals:
        table.add_column("goal", overflow="fold", ratio=3)
    for name, cells in matrix.rows:
        last = [_goals(cells)] if matrix.has_goals else []
        table.add_row(name, *(_cell(figure) for figure in cells), *last)
    return table


def _goals(cells: Sequence[Figure | None]) -> Text:
    """Return each goal of a row with its verdict, and whose it is where there are several."""
    held = [figure for figure in cells if figure is not None and figure.goal is not None]
    lines = []
    for figure in held:
        whose = f"{figure.subject}: " if len(held) > 1 else ""
        said, style = ("met", "green") if figure.is_met else ("not met", "red")
        lines.append(Text.assemble(whose, figure.goal.text if figure.goal else "", " ", (said, style)))
    return Text("\n").join(lines)


def _cell(figure: Figure | None) -> str:
    return "–" if figure is None else median_and_spread(figure)


def _said(figure: Figure) -> str:
    goal = figure.goal.text if figure.goal is not None else ""
    return f"{figure.section}: {figure.name}, {figure.subject}: {short(figure.median)} {figure.unit} ({goal})"


def _moved(movement: Movement) -> tuple[str, str, str, str]:
    figure = movement.figure
    name = f"{figure.section}: {figure.name}, {figure.subject} [{figure.unit}]".replace("[", r"\[")
    return movement.verdict, name, _cell(movement.before), _cell(movement.now)
