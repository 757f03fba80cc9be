"""What there is to report at the end, as text; and the acceptance log that keeps all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devstack.demo.board import Board, Happening
from devstack.demo.meter import CommandMeter
from devstack.demo.proof import Check
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words
from shared.routing import ROUTES, Lane, Template, Tier


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What became of one task."""

    task: str
    lane: str
    model: str
    attempt: str
    first: str
    total: str
    tokens: str
    commands: str
    outcome: str

    def cells(self, columns: Sequence[str]) -> list[str]:
        return [str(getattr(self, column)) for column in columns]


TASK_COLUMNS = tuple(TaskRow.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class LaneRow:
    """How far a lane's queue and its models' slots were filled."""

    lane: str
    queue_peak: str
    slots_peak: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told at the end, ready for either form."""

    rows: Sequence[TaskRow]
    lanes: Sequence[LaneRow]
    notes: Sequence[str]
    checks: Sequence[Check]
    happenings: Sequence[Happening]
    seconds: float

    @property
    def held(self) -> bool:
        return bool(self.checks) and all(check.held for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.held]


def build_report(
    board: Board, meter: CommandMeter, checks: Sequence[Check], words: Words, *, models: str, seconds: float
) -> Report:
    """Put the report together.

    Args:
        board: the tasks, the peaks, what happened.
        meter: what the tasks cost.
        checks: the proof.
        words: the language to say it in.
        models: which models answered, in a few words.
        seconds: how long it took.
    """
    reads = meter.bridge_reads([task.task_id for task in board.tasks])
    notes = [
        words("report.first_note"),
        words("report.tokens_note"),
        words("report.commands_note"),
        words("report.bridge_note", count=reads),
        models,
    ]
    rows = [_row(task, meter) for task in board.tasks]
    return Report(
        rows, [_lane_row(lane, board) for lane in Lane], notes, checks, list(board.happenings), seconds
    )


def write_markdown(report: Report, words: Words, file: Path) -> None:
    """Write the acceptance log."""
    failed, count = len(report.failed), len(report.checks)
    verdict = (
        words("report.all") if report.held else f"**{words('report.not_all', failed=failed, count=count)}**"
    )
    claims = [
        (words(f"report.{'yes' if c.held else 'no'}"), c.claim, c.found, "" if c.held else c.look)
        for c in report.checks
    ]
    story = [f"- {each.at_seconds:.1f} s: {each.text}" for each in report.happenings]
    took = words("report.took", seconds=int(report.seconds))
    parts = [
        f"# {words('report.acceptance')}",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {took}. {verdict}",
        f"## {words('report.tasks')}",
        _table(words, TASK_COLUMNS, [row.cells(TASK_COLUMNS) for row in report.rows]),
        "\n".join(f"- {note}" for note in report.notes),
        f"## {words('report.story')}",
        "\n".join(story),
        f"## {words('report.lanes')}",
        _table(
            words,
            ("lane", "queue_peak", "slots_peak"),
            [(r.lane, r.queue_peak, r.slots_peak) for r in report.lanes],
        ),
        f"## {words('report.proof')}",
        _table(words, ("held", "claim", "found", "look"), claims),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _row(task: Tracked, meter: CommandMeter) -> TaskRow:
    commands = meter.of(task.task_id)
    tier = Tier.FREE if task.is_free else Tier.PAID
    models = [ROUTES[Template(step.template), tier].model for step in task.steps if step.template]
    return TaskRow(
        task=task.title,
        lane=" → ".join(task.lanes),
        model=" → ".join(models),
        attempt=str(task.attempt),
        first=_seconds(task.first_text_seconds),
        total=_seconds(task.total_seconds),
        tokens=str(task.tokens or "–"),
        commands=f"{commands.sent} + {commands.in_scripts}",
        outcome=task.state,
    )


def _lane_row(lane: Lane, board: Board) -> LaneRow:
    gauges = board.gauges
    if gauges is None:
        return LaneRow(lane, "–", "–")
    slots = [
        f"{model} {board.peak_slots.get((model, lane.tier), 0)} / {gauges.slots[model, lane.tier].limit}"
        for model in sorted({route.model for route in ROUTES.values() if route.lane is lane})
    ]
    return LaneRow(lane, f"{board.peak_places[lane]} / {gauges.places[lane].limit}", ", ".join(slots))


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _table(words: Words, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[words(f"report.{column}") for column in columns], ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
