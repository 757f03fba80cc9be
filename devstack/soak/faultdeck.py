"""Draws the faults: a process, the broker, Redis, a provider, in turn; each kind as often as the others."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

from devstack.llm.faults import FaultKind as ProviderFault
from devstack.soak.plan import Fault, FaultKind
from shared.routing import Lane, Model

FIRST_SECONDS = 4.0
GAP_SECONDS = (1.2, 2.4)
QUIET_SECONDS = 1.0
"""Before the end of the traffic no new fault begins."""

_SCRIPTS = ("admit_task", "begin_publish", "confirm_publish", "claim_task", "renew_lease", "finish_task")
_COMMANDS = (*_SCRIPTS, "release_attempt", "cancel_task", "requeue_task", "sweep_task", "XADD", "XREAD", "")
_ERRORS = (
    "READONLY You can't write against a read only replica.",
    "LOADING Valkey is loading the dataset in memory",
    "OOM command not allowed when used memory > 'maxmemory'.",
)
_PROVIDER_FAULTS = (
    ProviderFault.STATUS,
    ProviderFault.HANG,
    ProviderFault.SILENCE,
    ProviderFault.CUT,
    ProviderFault.UNFINISHED,
    ProviderFault.EMPTY,
    ProviderFault.BAD_JSON,
    ProviderFault.GARBLED,
    ProviderFault.INVALID_UTF8,
    ProviderFault.ERROR_EVENT,
    ProviderFault.ENDLESS,
    ProviderFault.TOOL_CALL,
    ProviderFault.FILTERED,
    ProviderFault.NO_USAGE,
)
_PROCESS = (FaultKind.KILL, FaultKind.FREEZE, FaultKind.KILL, FaultKind.PAUSE)
_BROKER = (
    FaultKind.DUPLICATE,
    FaultKind.LOST_DELIVERY,
    FaultKind.LOST_RESPONSE,
    FaultKind.LOST_CALLBACK,
    FaultKind.DOUBLED_CALLBACK,
    FaultKind.LOST_MESSAGE,
    FaultKind.PUBLISH_UNKNOWN,
    FaultKind.HELD,
    FaultKind.KEY_ROTATION,
)
_REDIS = (
    FaultKind.REDIS_CUT,
    FaultKind.REDIS_CUT,
    FaultKind.REDIS_LATE,
    FaultKind.REDIS_CUT_ALL,
    FaultKind.REDIS_STALL,
    FaultKind.REDIS_AWAY,
    FaultKind.REDIS_RESTART,
    FaultKind.REDIS_ERROR,
    FaultKind.SCRIPTS_FLUSHED,
)
_PROVIDER = (FaultKind.PROVIDER, FaultKind.PROVIDER, FaultKind.PROVIDER, FaultKind.PROVIDER_SLOW)


def draw_faults(rng: random.Random, seconds: float) -> Iterator[Fault]:
    """Yield the faults of a run, in the order of their times."""
    decks = [_deck(rng, kinds) for kinds in (_PROCESS, _BROKER, _REDIS, _PROVIDER)]
    at, rotated = FIRST_SECONDS, False
    for deck in itertools.cycle(decks):
        if at >= seconds - QUIET_SECONDS:
            return
        kind = next(deck)
        while kind is FaultKind.KEY_ROTATION and rotated:
            kind = next(deck)  # functions know two keys: a second rotation is a deploy's business
        rotated = rotated or kind is FaultKind.KEY_ROTATION
        yield _fault(rng, at, kind)
        at += rng.uniform(*GAP_SECONDS)


def _deck(rng: random.Random, kinds: Sequence[FaultKind]) -> Iterator[FaultKind]:
    while True:
        yield from rng.sample(kinds, len(kinds))


def _fault(rng: random.Random, at: float, kind: FaultKind) -> Fault:
    draw = _DRAWS.get(kind)
    return draw(rng, at) if draw else Fault(at, kind, count=rng.randint(1, 3), seconds=rng.uniform(0.3, 2.5))


def _kill(rng: random.Random, at: float) -> Fault:
    target = rng.choice((*Lane, *Lane, "actions", "events"))
    return Fault(at, FaultKind.KILL, target, seconds=rng.uniform(0.0, 1.0))


def _freeze(rng: random.Random, at: float) -> Fault:
    return Fault(at, FaultKind.FREEZE, rng.choice([*Lane]), seconds=rng.uniform(1.0, 5.0))


def _pause(rng: random.Random, at: float) -> Fault:
    target = rng.choice((*Lane, "actions", "events"))
    return Fault(at, FaultKind.PAUSE, target, seconds=rng.uniform(0.5, 4.0))


def _duplicate(rng: random.Random, at: float) -> Fault:
    mode = rng.choice(("sequential", "concurrent"))
    return Fault(at, FaultKind.DUPLICATE, count=rng.randint(1, 4), detail=mode)


def _publish(rng: random.Random, at: float) -> Fault:
    return Fault(
        at, FaultKind.PUBLISH_UNKNOWN, count=rng.randint(1, 3), detail=rng.choice(("accepted", "refused"))
    )


def _redis_cut(rng: random.Random, at: float) -> Fault:
    when, count = rng.choice(("before", "after")), rng.randint(1, 2)
    return Fault(at, FaultKind.REDIS_CUT, rng.choice(_COMMANDS), count=count, detail=when)


def _redis_late(rng: random.Random, at: float) -> Fault:
    when, target = rng.choice(("before", "after")), rng.choice(_COMMANDS)
    seconds, count = rng.uniform(0.05, 1.5), rng.randint(1, 6)
    return Fault(at, FaultKind.REDIS_LATE, target, seconds=seconds, count=count, detail=when)


def _redis_error(rng: random.Random, at: float) -> Fault:
    target, error = rng.choice((*_SCRIPTS, "XADD", "")), rng.choice(_ERRORS)
    return Fault(at, FaultKind.REDIS_ERROR, target, count=rng.randint(1, 4), detail=error)


def _provider(rng: random.Random, at: float) -> Fault:
    target, kind = rng.choice((*Model, "")), rng.choice(_PROVIDER_FAULTS)
    return Fault(at, FaultKind.PROVIDER, target, count=rng.randint(1, 2), detail=kind)


_DRAWS: dict[FaultKind, Callable[[random.Random, float], Fault]] = {
    FaultKind.KILL: _kill,
    FaultKind.FREEZE: _freeze,
    FaultKind.PAUSE: _pause,
    FaultKind.DUPLICATE: _duplicate,
    FaultKind.PUBLISH_UNKNOWN: _publish,
    FaultKind.REDIS_CUT: _redis_cut,
    FaultKind.REDIS_LATE: _redis_late,
    FaultKind.REDIS_ERROR: _redis_error,
    FaultKind.PROVIDER: _provider,
}
