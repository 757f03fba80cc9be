"""What the demo knows while it runs: its tasks and what happened, the lanes' gauges now and at their peak.

The story writes it, the followers of the streams add to it, a thread of its own samples Redis; a screen only
reads, and what it reads may be a moment old.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from devstack.demo.tracking import Tracked
from devstack.gauges import Gauges, read_gauges
from devstack.sampling import SamplingThread
from devstack.stack import Stack
from shared.errors import StoreUnavailable
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.store import Store

SAMPLE_SECONDS = 0.1
CHAPTER_SECONDS = (11.0, 11.0, 13.0, 1.0)
"""How long each chapter takes where nothing else runs; the time that is left is told by them."""
_ALMOST = 0.95


class Mood(Enum):
    """What kind of thing happened."""

    CHAPTER = "chapter"
    STEP = "step"
    HURT = "hurt"
    WAIT = "wait"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story."""

    at_seconds: float
    mood: Mood
    text: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A request that was refused and will come again."""

    title: str
    again_at: float


@dataclass(slots=True)
class Board:
    """The shared picture."""

    started_at: float = field(default_factory=time.monotonic)
    tasks: list[Tracked] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    turned_away: TurnedAway | None = None
    balance: int | None = None
    chapter: int = 0
    """From 1; 0 before the first."""
    title: str = ""
    chapter_began_at: float = 0.0
    gauges: Gauges | None = None
    ahead: Mapping[str, int] = field(default_factory=dict)
    """Tasks ahead in its queue, for each task's id."""
    peak_places: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    peak_slots: dict[tuple[Model, Tier], int] = field(default_factory=dict)

    def begin(self, title: str) -> None:
        """Begin the next chapter."""
        self.chapter, self.title, self.chapter_began_at = self.chapter + 1, title, time.monotonic()

    def tell(self, mood: Mood, text: str) -> Happening:
        happening = Happening(time.monotonic() - self.started_at, mood, text)
        self.happenings.append(happening)
        return happening

    def note(self, gauges: Gauges) -> None:
        """Take in what Redis holds now."""
        self.gauges = gauges
        for lane, level in gauges.places.items():
            self.peak_places[lane] = max(self.peak_places[lane], level.used)
        for pair, level in gauges.slots.items():
            self.peak_slots[pair] = max(self.peak_slots.get(pair, 0), level.used)

    def seconds(self, now: float) -> float:
        """Return how long the demo has been running."""
        return now - self.started_at

    def done_share(self, now: float) -> float:
        """Return how much of the story is behind us, from 0 to 1."""
        if not self.chapter:
            return 0.0
        before = sum(CHAPTER_SECONDS[: self.chapter - 1])
        expected = CHAPTER_SECONDS[min(self.chapter, len(CHAPTER_SECONDS)) - 1]
        share = before + min(max(0.0, now - self.chapter_began_at), expected * _ALMOST)
        return min(share / sum(CHAPTER_SECONDS), 1.0)

    def seconds_left(self, now: float) -> float:
        """Return how long it will still take, if the machine goes on as fast as it has up to this chapter."""
        before = sum(CHAPTER_SECONDS[: max(self.chapter - 1, 0)])
        took = self.chapter_began_at - self.started_at
        slowness = max(1.0, took / before) if before else 1.0
        return (1 - self.done_share(now)) * sum(CHAPTER_SECONDS) * slowness


class Sampler(SamplingThread):
    """A thread that reads Redis into a board while the context is open."""

    def __init__(self, stack: Stack, board: Board) -> None:
        super().__init__("gauges")
        self._stack = stack
        self._board = board

    def sample(self) -> None:
        limits = self._stack.limits
        with contextlib.closing(self._stack.open_store()) as store:
            while not self.over.wait(SAMPLE_SECONDS):
                with contextlib.suppress(StoreUnavailable):
                    self._board.note(read_gauges(store, limits))
                    self._board.ahead = _ahead(store)


def _ahead(store: Store) -> Mapping[str, int]:
    """Return how many are ahead of each task. Whole queues: a command that names a task is counted as its."""
    queues: Sequence[Sequence[str]] = store.pipeline([("ZRANGE", keys.queue(lane), 0, -1) for lane in Lane])
    ranks: dict[str, int] = {}
    for queue in queues:
        for rank, place in enumerate(queue):
            task_id = place.split(":")[0]
            ranks[task_id] = min(rank, ranks.get(task_id, rank))
    return ranks
