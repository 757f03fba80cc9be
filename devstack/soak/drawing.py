"""Draws a plan from its seed: users who come, stay a minute and go, and a fault every few seconds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from devstack.soak.faultdeck import draw_faults
from devstack.soak.plan import Act, ActKind, Plan, ReaderPlan

FIRST_USERS = 6
SECONDS_PER_USER = 11.0
"""From one arrival to the next, once the first ones are there."""
STAY_SECONDS = 70.0
PAUSE_SECONDS = (2.0, 7.0)
"""Between two acts of a user."""


@dataclass(frozen=True, slots=True)
class Character:
    """What a kind of user likes to do."""

    likes: dict[ActKind, int]
    cancels: float = 0.08
    """The share of tasks that are cancelled."""
    leaves: bool = False
    """Whether they delete themselves half-way, and come back."""


_ORDINARY = {
    ActKind.MATCH: 5,
    ActKind.PICTURE: 2,
    ActKind.TIPS: 4,
    ActKind.CUSTOMISE: 3,
    ActKind.REPEAT: 3,
    ActKind.LOOK: 2,
    ActKind.DETAILED: 1,
    ActKind.RESUME: 1,
}
CHARACTERS = (
    Character(_ORDINARY),
    Character(_ORDINARY, cancels=0.6),
    Character(_ORDINARY | {ActKind.BURST: 6}),
    Character(_ORDINARY | {ActKind.PICTURE: 10}),
    Character(_ORDINARY, leaves=True),
    Character(_ORDINARY | {ActKind.RESUME: 6, ActKind.DETAILED: 6, ActKind.REPEAT: 6}),
)


def draw_plan(seed: int, seconds: float) -> Plan:
    """Return the schedule of a seed: the same one for the same arguments."""
    rng = random.Random(f"sluice soak {seed}")
    arrivals = _arrivals(rng, seconds)
    acts = [
        act
        for user, arrival in enumerate(arrivals)
        for act in _stay(rng, user, arrival, min(seconds, arrival + STAY_SECONDS))
    ]
    acts.sort(key=lambda act: (act.at_seconds, act.user))
    return Plan(seed, seconds, len(arrivals), tuple(acts), tuple(draw_faults(rng, seconds)))


def _arrivals(rng: random.Random, seconds: float) -> list[float]:
    first = sorted(rng.uniform(0, min(2.0, seconds / 4)) for _ in range(FIRST_USERS))
    later = range(int(max(0.0, seconds - 2 * SECONDS_PER_USER) / SECONDS_PER_USER))
    return first + [SECONDS_PER_USER * (n + 1) + rng.uniform(-2, 2) for n in later]


def _stay(rng: random.Random, user: int, arrival: float, until: float) -> Iterator[Act]:
    character = CHARACTERS[user % len(CHARACTERS)]
    locale = rng.choice(("en", "en", "zh"))
    yield Act(arrival, user, ActKind.RESUME, locale, rng.random(), f"{user}-first", _reader(rng))
    leaves_at = rng.uniform(0.5, 0.9) * (until - arrival) + arrival if character.leaves else until
    kinds, weights = [*character.likes], [*character.likes.values()]
    at = arrival + rng.uniform(2.5, 4.5)
    while at < until:
        if at >= leaves_at:
            yield Act(at, user, ActKind.DELETE, locale, rng.random())
            leaves_at = until
            kind = ActKind.RESUME
        else:
            kind = rng.choices(kinds, weights)[0]
        at += 0.5
        yield _act(rng, at, user, kind, locale, character)
        at += rng.uniform(*PAUSE_SECONDS)


def _act(rng: random.Random, at: float, user: int, kind: ActKind, locale: str, character: Character) -> Act:
    key = f"{user}-{rng.getrandbits(32):x}" if rng.random() < 0.6 else None
    cancel = rng.uniform(0, 4) if rng.random() < character.cancels else None
    return Act(at, user, kind, locale, rng.random(), key, _reader(rng), cancel)


def _reader(rng: random.Random) -> ReaderPlan | None:
    draw = rng.random()
    if draw < 0.1:
        return None
    if draw < 0.25:
        return ReaderPlan(rng.uniform(2, 8))
    if draw < 0.55:
        return ReaderPlan(rng.uniform(0, 1), tuple(rng.randint(1, 12) for _ in range(rng.randint(1, 4))))
    return ReaderPlan(0.0)
