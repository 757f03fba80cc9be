"""Tasks in any number, moved by the real transitions, each axis on a database of its own of one Valkey."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass

from devstack.valkey import EmbeddedValkey
from shared.config import load_reconciliation
from shared.routing import CREATE_SERVICE_TEXT, Tier
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Attempt, Finished, Step
from shared.state.store import TcpStore
from shared.state.tasks import Tasks
from shared.stream.events import Done, encode

ROOM = "1000000"
LIMITS = {
    "QUEUE_MAX_SIZE": ROOM,
    "USER_MAX_ACTIVE": ROOM,
    "INITIAL_QUOTA": ROOM,
    "MODEL_SLOTS": json.dumps({"deepseek-reasoner:paid": int(ROOM)}),
}
USAGE = {"promptTokens": 700, "completionTokens": 500, "totalTokens": 1200, "cost": 0.002, "currency": "CNY"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """An admitted task of one step."""

    ref: TaskRef
    step: Step


class LaneOfTasks:
    """One lane whose limits are never met. Whoever made it closes it."""

    def __init__(self, valkey: EmbeddedValkey, database: int) -> None:
        self.url = f"redis://127.0.0.1:{valkey.port}/{database}"
        self.store = TcpStore(self.url, answer_timeout_seconds=60)
        settings = load_reconciliation({"REDIS_URL": self.url, **LIMITS})
        self.settings = settings
        self.tasks = Tasks(
            self.store, concurrency=settings.concurrency, time=settings.time, stream=settings.stream
        )
        self._users = (f"user-{database}-{number}" for number in itertools.count())

    def close(self) -> None:
        self.store.close()

    def admit(self, user: str | None = None) -> Waiting:
        """Admit a task, of a user of its own unless one is named."""
        ref = TaskRef(uuid.uuid4().hex, uuid.uuid4().hex, user or next(self._users))
        new = Admission(
            ref,
            CREATE_SERVICE_TEXT,
            "en",
            {},
            initial_quota=int(ROOM),
            service_fields={"jobText": json.dumps("We look for a mathematician who can program. " * 20)},
        )
        admitted = self.tasks.admit(new)
        if admitted.status != "accepted":
            raise RuntimeError(f"a task that there is room for was answered {admitted.status}")
        return Waiting(ref, Step.from_record(json.loads(admitted.steps_json)[0]))

    def claim(self, waiting: Waiting) -> Attempt:
        claim = self.tasks.claim(waiting.ref, step=0, at=waiting.step, tier=Tier.PAID, nonce=uuid.uuid4().hex)
        if claim.attempt is None:
            raise RuntimeError(f"a claim that there is a slot for was answered {claim.status}")
        return claim.attempt

    def finish(self, attempt: Attempt, text: str = "score: 80\n\nYou fit.") -> None:
        result = {"text": text, "score": 80}
        done = Done(result=result, usage=USAGE, latency_ms=9_000, text_length=len(text))
        event = encode(done, task_id=attempt.ref.task_id, attempt=attempt.number)
        status = self.tasks.finish(attempt, Finished(event, result, USAGE))
        if status != "done":
            raise RuntimeError(f"a running attempt's end was answered {status}")
