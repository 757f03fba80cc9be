"""What a soak will do, as frozen records: who asks for what, and what is broken, when."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class ActKind(StrEnum):
    """What a user does."""

    RESUME = "résumé"
    DETAILED = "career"
    MATCH = "match"
    PICTURE = "picture"
    CUSTOMISE = "customise"
    TIPS = "tips"
    REPEAT = "repeat"
    """The last request that had an idempotency key, word for word once more."""
    BURST = "burst"
    """Several matches at once, more than may be open."""
    LOOK = "look"
    """Everything that a page reads."""
    DELETE = "delete me"


class FaultKind(StrEnum):
    """What is broken."""

    KILL = "SIGKILL"
    FREEZE = "SIGSTOP, taken over"
    """Another instance takes over; the frozen one wakes up afterwards, and is ended later."""
    PAUSE = "SIGSTOP, woken"
    DUPLICATE = "delivered twice"
    LOST_DELIVERY = "delivery lost"
    LOST_RESPONSE = "response lost"
    LOST_CALLBACK = "callback lost"
    DOUBLED_CALLBACK = "callback doubled"
    LOST_MESSAGE = "message lost"
    PUBLISH_UNKNOWN = "publish answered 500"
    HELD = "deliveries held"
    KEY_ROTATION = "keys rotated"
    REDIS_CUT = "Redis command cut"
    REDIS_LATE = "Redis command late"
    REDIS_CUT_ALL = "Redis connections cut"
    REDIS_STALL = "Redis stalled"
    REDIS_AWAY = "Redis refused"
    REDIS_RESTART = "Redis restarted"
    REDIS_ERROR = "Redis error"
    SCRIPTS_FLUSHED = "scripts flushed"
    PROVIDER = "provider"
    PROVIDER_SLOW = "provider slow"


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """A browser that reads a task's stream."""

    delay_seconds: float
    """How long after its task was accepted it connects."""
    breaks: tuple[int, ...] = ()
    """After how many events each of its connections is given up, to be resumed by the next."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that one user does."""

    at_seconds: float
    user: int
    kind: ActKind
    locale: str
    choice: float
    """Between 0 and 1: which of what there is then, a service, a number of requests."""
    key: str | None = None
    """The idempotency key."""
    reader: ReaderPlan | None = None
    cancel_seconds: float | None = None
    """How long after its task was accepted it is cancelled."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is broken."""

    at_seconds: float
    kind: FaultKind
    target: str = ""
    """A function, a Redis command, a model, a provider's fault."""
    seconds: float = 0.0
    count: int = 1
    detail: str = ""
    """A Redis error, the provider's fault, before or after."""

    def __str__(self) -> str:
        words = [self.kind, self.target, self.detail]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole schedule."""

    seed: int
    seconds: float
    users: int
    acts: tuple[Act, ...]
    faults: tuple[Fault, ...]

    def user_name(self, user: int) -> str:
        return f"soak{self.seed}-user{user}"

    @property
    def digest(self) -> str:
        """The schedule in eight letters: two runs with the same one had the same schedule."""
        return hashlib.sha256(repr((self.acts, self.faults)).encode()).hexdigest()[:8]

    @property
    def families(self) -> Counter[FaultKind]:
        return Counter(fault.kind for fault in self.faults)
