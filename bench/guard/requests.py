"""What the clients of the guard send, ready as bytes: the lane's own scripts with the lane's own arguments.

The arguments are made by `Tasks` itself, on a store that only writes down what it is asked. An epoch is
known only from the claim's reply: thirteen digits, which take the place of thirteen zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.bridge.resp import packed
from shared.config import StreamSettings, TimeSettings, get_concurrency_config
from shared.routing import CREATE_SERVICE_TEXT, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Attempt, Finished, Step, plan_steps
from shared.state.records import record_key
from shared.state.scripts import Script
from shared.state.store import Arg
from shared.state.tasks import Tasks
from shared.stream.events import Done, encode

EPOCH_PENDING = "0" * 13
ANSWER = "score: 80\n\n## Fit\n\n" + "You ran a platform of payments, which is what they look for. " * 40
"""An answer of some 2,400 characters."""
LIMITS = {
    "MODEL_SLOTS": '{"deepseek-reasoner:paid": 64}',
    "QUEUE_MAX_SIZE": "1000000",
    "USER_MAX_ACTIVE": "9",
}
TIME = TimeSettings(30, 300, 480, 600, 3, 5, 604_800, 31_536_000)
STREAM = StreamSettings(100, 64, 86_400, 10_000, 15, 840)
STEP: Step = plan_steps(CREATE_SERVICE_TEXT, Tier.PAID, TIME)[0]
SLOT_KEY = keys.slots(STEP.model, Tier.PAID)
ENTER_SLOT = Script(
    "enter_slot",
    "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    "if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') >= tonumber(ARGV[2]) then return 0 end "
    "redis.call('ZADD', KEYS[1], string.format('%.0f', now + 30000), ARGV[1]) "
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now)) return 1",
)
"""What claim_task does for the slot and nothing else: what a limiter's `acquire` is elsewhere."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One script's call as it travels, and the script, which must be loaded before."""

    script: Script
    command: bytes


class Notebook:
    """A store that asks nobody and remembers the last script that it was given."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def command(self, *args: Arg) -> Any:
        raise AssertionError(f"the guard sends scripts alone, not {args[0]!r}")

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        raise AssertionError(f"the guard sends one script at a time, not {len(commands)}")

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        values = [arg for arg in args if isinstance(arg, str | int)]
        assert len(values) == len(args)
        self.asked.append(Asked(script, packed("EVALSHA", script.sha1, len(keys), *keys, *values)))
        return '{"status": "unknown"}'

    def close(self) -> None:
        """Nothing is open."""


class Guard:
    """Makes the calls of one task: admitted by `admit`, entered by `claim`, left by the others."""

    def __init__(self) -> None:
        self._notebook = Notebook()
        self._tasks = Tasks(
            self._notebook, concurrency=get_concurrency_config(LIMITS), time=TIME, stream=STREAM
        )

    def admit(self, ref: TaskRef) -> Asked:
        new = Admission(ref, CREATE_SERVICE_TEXT, "en", {}, 8, service_fields={"jobText": '"Engineer"'})
        self._tasks.admit(new)
        return self._last()

    def claim(self, ref: TaskRef) -> Asked:
        self._tasks.claim(ref, step=0, at=STEP, tier=Tier.PAID, nonce=ref.task_id)
        return self._last()

    def finish(self, ref: TaskRef) -> Asked:
        """Leave with an answer, kept where the service's record is."""
        result = {"text": ANSWER, "score": 80}
        usage = {"promptTokens": 900, "completionTokens": 500, "totalTokens": 1400, "cost": 0.01}
        done = Done(result=result, usage=usage, latency_ms=10_000, text_length=len(ANSWER))
        event = encode(done, task_id=ref.task_id, attempt=1)
        self._tasks.finish(
            _attempt(ref), Finished(event, result, usage, record_key(ref), "match", {"match": ANSWER})
        )
        return self._last()

    def release(self, ref: TaskRef) -> Asked:
        """Leave without an answer: the attempt may be repeated."""
        self._tasks.release(_attempt(ref), code="provider_error", message="It broke.", retry_after_seconds=2)
        return self._last()

    def _last(self) -> Asked:
        return self._notebook.asked.pop()


def task_ref(number: int) -> TaskRef:
    """Return the ids of one task; all have the same length."""
    return TaskRef(f"task{number:012d}", f"serv{number:012d}", f"user{number:012d}")


def _attempt(ref: TaskRef) -> Attempt:
    return Attempt(
        ref=ref,
        step=0,
        number=1,
        epoch=EPOCH_PENDING,
        holder=f"{ref.task_id}:0:{EPOCH_PENDING}",
        model=STEP.model,
        tier=Tier.PAID,
        lane=STEP.lane,
        locale="en",
        created_at_ms=0,
        input={},
    )
