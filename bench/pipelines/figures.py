"""From what was collected to the figures: sections, units, and goals that are ratios within one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import Figure, Goal
from bench.pipelines.breakdown import STRETCHES
from bench.pipelines.subjects import NODE_PEER, PEERS

OWN, UNMERGED, LIMIT = "sluice", "sluice, 0 ms", "direct"
FLUSH_INTERVAL_MS, BEYOND_INTERVAL_MS = 100, 10

ALONE = "Pipelines: one answer at a time"
PACED = "Pipelines: 20 answers at once, 50 tokens a second"
FULL_SPEED = "Pipelines: full speed"
AT_REST = "Pipelines: at rest"
KILLED = "Pipelines: a worker killed in mid-answer"
BREAKDOWN = "Pipelines: where Sluice's time to first token goes"

SECTIONS = (ALONE, BREAKDOWN, PACED, FULL_SPEED, AT_REST, KILLED)
SUBJECTS = (OWN, UNMERGED, *PEERS, NODE_PEER, LIMIT)
COSTED = (OWN, PEERS[0])
"""Of whom it is told what an answer of ten seconds costs; a publish per token costs all peers the same."""
SLOW = PEERS[1:]
"""At full speed only once, and with fewer answers: nothing of Sluice is held to them there."""
KILLED_SUBJECTS = (UNMERGED, *PEERS, NODE_PEER)

STRETCH, ALL_OF_IT = "time", "all of it"
_ORDER = (*SUBJECTS, *STRETCHES, ALL_OF_IT)
FIRST_P50 = "added time to first token, p50"
FIRST_P99 = "added time to first token, p99"
TOKEN_P50 = "added latency per token, p50"
TOKEN_P99 = "added latency per token, p99"
SPEED = "answers of 500 tokens"
ARRIVED = "answers that arrived whole"
LOST = "tokens lost"
DOUBLED = "tokens shown twice"
IDLE = "Redis commands while nothing is done"
_GoalOf = Callable[[Mapping[str, float]], Goal]


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of figure is of."""

    section: str
    name: str
    unit: str


@dataclass
class Collection:
    """Values as they come in, one for each interleaved run."""

    _values: dict[tuple[Row, str], list[float]] = field(default_factory=dict)
    _notes: dict[tuple[Row, str], str] = field(default_factory=dict)

    def add(self, section: str, name: str, unit: str, subject: str, value: float, note: str = "") -> None:
        key = (Row(section, name, unit), subject)
        self._values.setdefault(key, []).append(value)
        self._notes[key] = note

    def figures(self) -> list[Figure]:
        """Return all figures with their goals: sections and subjects in our order, rows as they came."""
        plain = [
            Figure(row.section, row.name, subject, row.unit, tuple(values), note=self._notes[row, subject])
            for (row, subject), values in self._values.items()
        ]
        rows = list(dict.fromkeys((row.section, row.name) for row, _ in self._values))
        return sorted(with_goals(plain), key=lambda each: _place(each, rows))


def _place(figure: Figure, rows: Sequence[tuple[str, str]]) -> tuple[int, int, int]:
    return (
        SECTIONS.index(figure.section),
        rows.index((figure.section, figure.name)),
        _ORDER.index(figure.subject),
    )


def with_goals(figures: Sequence[Figure]) -> Iterator[Figure]:
    """Yield the figures, those of Sluice with what they are held to in this very run."""
    for figure in figures:
        goal = _GOALS.get((figure.section, figure.name, figure.subject))
        of_peers = {
            each.subject: each.median
            for each in figures
            if (each.section, each.name) == (figure.section, figure.name) and each.subject in PEERS
        }
        yield dataclasses.replace(figure, goal=goal(of_peers)) if goal is not None else figure


def _at_most(text: str, of: Callable[[Mapping[str, float]], float]) -> _GoalOf:
    return lambda of_peers: Goal(text, at_most=of(of_peers))


_GOALS: Mapping[tuple[str, str, str], _GoalOf] = {
    (ALONE, FIRST_P50, OWN): _at_most("≤ 2 × the best peer", lambda peers: 2 * min(peers.values())),
    (PACED, TOKEN_P99, OWN): _at_most(
        f"≤ flush interval ({FLUSH_INTERVAL_MS}) + {BEYOND_INTERVAL_MS}",
        lambda _: FLUSH_INTERVAL_MS + BEYOND_INTERVAL_MS,
    ),
    (PACED, TOKEN_P99, UNMERGED): _at_most("≤ the best peer", lambda peers: min(peers.values())),
    (FULL_SPEED, SPEED, OWN): lambda peers: Goal("≥ 4 × Celery", at_least=4 * peers["celery"]),
    (KILLED, LOST, UNMERGED): _at_most("0", lambda _: 0),
    (KILLED, DOUBLED, UNMERGED): _at_most("0", lambda _: 0),
    (AT_REST, IDLE, OWN): _at_most("0", lambda _: 0),
}
"""What is held to what; the peers' medians of the same figure by name."""
