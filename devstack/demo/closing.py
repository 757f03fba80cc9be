"""The end of the demo on the terminal: what ran where, the proof, the verdict; one screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from devstack.demo import palette
from devstack.demo.proof import Check
from devstack.demo.report import TASK_COLUMNS, LaneRow, Report, TaskRow
from devstack.demo.words import Words
from shared.routing import Lane

WIDE_COLUMNS = 140
"""From here on there is room for models, tokens and Redis commands beside the rest."""
MEDIUM_COLUMNS = 90
"""From here on columns stand well apart."""
TWO_COLUMNS = 76
"""From here on claims stand side by side."""
ROOMY_ROWS = 28
"""From here on the parts stand apart, with titles; fewer rows hold the tasks, the proof and the verdict."""
TALL_ROWS = 42
"""From here on each claim stands on a row of its own, with what was found."""
NARROW = ("task", "lane", "attempt", "first", "total")
_NUMBERS = frozenset({"attempt", "first", "total", "tokens", "commands"})


def print_report(report: Report, words: Words, console: Console, log: str) -> None:
    """Print the report; failed claims come last, with what to look at, where nobody can overlook them."""
    roomy = console.height >= ROOMY_ROWS
    if roomy:
        console.print(_title(words("report.tasks")))
    console.print(_tasks(report.rows, words, console.width))
    if roomy:
        console.print(_peaks(report.lanes, words))
    _space(console, roomy=roomy)
    console.print(_title(words("report.proof")))
    held = [check for check in report.checks if check.held]
    if console.width >= WIDE_COLUMNS and console.height >= TALL_ROWS:
        console.print(_findings(held))
    else:
        console.print(_claims(held, 2 if console.width >= TWO_COLUMNS else 1))
    for check in report.failed:
        console.print(_failure(check, words))
    _space(console, roomy=roomy)
    console.print(_verdict(report, words))
    console.print(words("report.log", file=log), style=palette.SOFT, markup=False, highlight=False)


def _space(console: Console, *, roomy: bool) -> None:
    if roomy:
        console.print()


def _title(text: str) -> Text:
    return Text(text, f"bold {palette.BUSY}")


def _tasks(rows: Sequence[TaskRow], words: Words, width: int) -> Table:
    columns = TASK_COLUMNS if width >= WIDE_COLUMNS else NARROW
    shown = [column for column in columns if column != "outcome"]
    table = Table(
        box=None,
        padding=(0, 2 if width >= MEDIUM_COLUMNS else 1, 0, 0),
        pad_edge=False,
        header_style=palette.SOFT,
    )
    table.add_column("", no_wrap=True)
    for column in shown:
        justify = "right" if column in _NUMBERS else "left"
        table.add_column(words(f"report.{column}"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        mark, colour = palette.STATES.get(row.outcome, ("·", ""))
        cells = [
            _lanes(row.lane) if column == "lane" else Text(cell)
            for column, cell in zip(shown, row.cells(shown), strict=True)
        ]
        table.add_row(Text(mark, colour), *cells)
    return table


def _lanes(text: str) -> Text:
    shown = Text(text)
    for lane in Lane:
        shown.highlight_words([lane], palette.LANES[lane])
    return shown


def _peaks(lanes: Sequence[LaneRow], words: Words) -> Text:
    """Return the fullest that each queue was, in a line or two."""
    parts = [f"{row.lane} {row.queue_peak.replace(' ', '')}" for row in lanes]
    return Text.assemble((words("report.queue_peak") + "  ", palette.SOFT), _lanes("  ".join(parts)))


def _claims(checks: Sequence[Check], columns: int) -> Table:
    """Return the claims that held, column by column."""
    table = Table.grid(padding=(0, 3, 0, 0))
    rows = -(-len(checks) // columns)
    for number in range(rows):
        table.add_row(*(_claim(check) for check in checks[number::rows]))
    return table


def _findings(checks: Sequence[Check]) -> Table:
    """Return the claims that held with what was found."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for check in checks:
        table.add_row(_claim(check), Text(check.found, palette.SOFT))
    return table


def _claim(check: Check) -> Text:
    mark, colour = palette.STATES["done"]
    return Text.assemble((f"{mark} ", colour), check.claim)


def _failure(check: Check, words: Words) -> Text:
    mark, colour = palette.STATES["error"]
    look = f"{words('report.look')} {check.look}"
    return Text.assemble(
        (f"{mark} {check.claim}", f"bold {colour}"),
        f"\n  {words('report.found')}: {check.found}\n  ",
        (look, palette.SOFT),
    )


def _verdict(report: Report, words: Words) -> Text:
    count = len(report.checks)
    took = words("report.took", seconds=int(report.seconds))
    if report.held:
        return Text(
            f"{words('report.all')}: {words('report.count', count=count)}; {took}.", f"bold {palette.GOOD}"
        )
    return Text(
        f"{words('report.not_all', failed=len(report.failed), count=count)}; {took}.", f"bold {palette.HURT}"
    )
