"""The end of the demo: what ran where, and the proof; on the terminal, and in the acceptance log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.demo.board import Board
from devstack.demo.meter import CommandMeter
from devstack.demo.proof import Check
from devstack.demo.tracking import Tracked
from shared.routing import ROUTES, Lane, Template, Tier

HEADINGS = ("task", "lane", "model", "first text", "total", "tokens", "Redis commands", "outcome")
WIDE_COLUMNS = 130
"""From here on the terminal has room for the table of tasks; a narrower one gets a few lines a task."""
LANE_HEADINGS = ("lane", "queue: peak / limit", "slots: peak / limit")
PROOF_HEADINGS = ("held", "claim", "found")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told at the end, as text, ready for either form."""

    rows: Sequence[tuple[str, ...]]
    lanes: Sequence[tuple[str, ...]]
    notes: Sequence[str]
    checks: Sequence[Check]
    seconds: float

    @property
    def held(self) -> bool:
        return bool(self.checks) and all(check.held for check in self.checks)


def build_report(board: Board, meter: CommandMeter, checks: Sequence[Check], *, models: str) -> Report:
    """Put the report together.

    Args:
        board: the tasks and the peaks.
        meter: what the tasks cost.
        checks: the proof.
        models: which models answered, in a few words.
    """
    reads = meter.bridge_reads([task.task_id for task in board.tasks])
    notes = [
        "First text: from the user's request to the first visible character; a structured result has none.",
        "Tokens: prompt and answer, of all of the task's model calls.",
        "Redis commands: sent for this task by actions and the lanes + run inside their scripts.",
        f"The event bridge reads for all tasks together, and is not in it: {reads} commands in all.",
        models,
    ]
    rows = [_row(task, meter) for task in board.tasks]
    return Report(rows, [_lane_row(lane, board) for lane in Lane], notes, checks, board.seconds)


def print_report(report: Report, console: Console) -> None:
    """Print the report; on a narrow terminal it takes more lines, and nothing is left out."""
    if console.width >= WIDE_COLUMNS:
        console.print(_table("What ran where", HEADINGS, report.rows))
    else:
        for row in report.rows:
            console.print(_lines(row), markup=False, highlight=False)
    for note in report.notes:
        console.print(note, style="dim", markup=False, highlight=False)
    console.print(_table("The lanes", LANE_HEADINGS, report.lanes))
    console.print(_table("The proof", PROOF_HEADINGS, [_check_row(check) for check in report.checks]))
    verdict = "All of it held" if report.held else "NOT all of it held"
    style = "bold green" if report.held else "bold red"
    console.print(f"{verdict}; the story took {report.seconds:.0f} s.", style=style, highlight=False)


def write_markdown(report: Report, file: Path) -> None:
    """Write the acceptance log."""
    now = datetime.now(UTC)
    verdict = "All of it held." if report.held else "**Not all of it held.**"
    parts = [
        "# Acceptance log of `make demo`",
        f"{now:%Y-%m-%d %H:%M} UTC; the story took {report.seconds:.0f} s. {verdict}",
        "## What ran where",
        _markdown_table(HEADINGS, report.rows),
        "\n".join(f"- {note}" for note in report.notes),
        "## The lanes",
        _markdown_table(LANE_HEADINGS, report.lanes),
        "## The proof",
        _markdown_table(PROOF_HEADINGS, [_check_row(check) for check in report.checks]),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _row(task: Tracked, meter: CommandMeter) -> tuple[str, ...]:
    commands = meter.of(task.task_id)
    tier = Tier.FREE if task.is_free else Tier.PAID
    models = [ROUTES[Template(step.template), tier].model for step in task.steps if step.template]
    return (
        task.title,
        " → ".join(task.lanes),
        " → ".join(models),
        _seconds(task.first_text_seconds),
        _seconds(task.total_seconds),
        str(task.tokens or "–"),
        f"{commands.sent} + {commands.in_scripts}",
        task.state,
    )


def _lane_row(lane: Lane, board: Board) -> tuple[str, ...]:
    gauges = board.gauges
    if gauges is None:
        return (lane, "–", "–")
    slots = [
        f"{model} {board.peak_slots.get((model, lane.tier), 0)} / {gauges.slots[model, lane.tier].limit}"
        for model in sorted({route.model for route in ROUTES.values() if route.lane is lane})
    ]
    return (lane, f"{board.peak_places[lane]} / {gauges.places[lane].limit}", ", ".join(slots))


def _check_row(check: Check) -> tuple[str, ...]:
    return ("yes" if check.held else "NO", check.claim, check.found)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _lines(row: tuple[str, ...]) -> str:
    title, lane, model, *numbers, outcome = row
    facts = ", ".join(f"{name} {number}" for name, number in zip(HEADINGS[3:-1], numbers, strict=True))
    return f"{title}: {outcome}\n  {lane}\n  {model}\n  {facts}"


def _table(title: str, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _markdown_table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
