"""Lanes that are killed: at each write of a streamed task, at both steps of a picture's, in every attempt."""

from __future__ import annotations

from collections.abc import Sequence

from devstack.frontend import JOB, Reader, until
from devstack.reliability.outages import OUTAGES
from devstack.reliability.pauses import PAUSES
from devstack.reliability.points import ALL_BATCHES, CLAIMS, FINISHES, GIVEN_BACK, PICTURE_POINTS, Points
from devstack.reliability.scenes import REASONER, SLOTS, VISION, Scene, scene
from devstack.reliability.tally import Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.reliability.verdict import examine
from devstack.reliability.waves import Wave
from devstack.stack import Stack

RETRIES = 2


def streamed(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Kill a lane at every write of a streamed task, from its claim to its end."""
    with scene(stack, tally, effort) as here:
        points = (*CLAIMS, *ALL_BATCHES, *GIVEN_BACK, *FINISHES)
        here.until_met([(point,) for point in points], _wave_of_streams)


def _wave_of_streams(here: Scene, points: Sequence[Points]) -> list[Points]:
    wave = Wave(here, "paid_stream")
    wave.start(points)
    wave.wait_held()
    wave.kill("paid_stream")
    return wave.judge()


def pictures(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Kill both lanes of tasks that have two steps, at each write and while the model reads."""
    with scene(stack, tally, effort) as here:
        here.until_met(PICTURE_POINTS, _wave_of_pictures)


def _wave_of_pictures(here: Scene, points: Sequence[Points]) -> list[Points]:
    wave = Wave(here, "paid_vision", "paid_stream")
    wave.start_pictures(points)
    wave.wait_held(0)
    wave.kill("paid_vision", 0)
    wave.begin_second_step()
    wave.wait_held(1)
    wave.kill("paid_stream", 1)
    return wave.judge()


def every_attempt(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Kill every attempt of a task in mid-stream: it ends, refunded, and its reader is told."""
    with scene(stack, tally, effort) as here:
        for _ in range(here.rounds):
            accepted = here.owner.act("create-service", {"jobText": JOB, "locale": "en"})
            reader = Reader(accepted["streamUrl"])
            for attempt in range(1, RETRIES + 2):
                _kill_talking(stack, reader, attempt)
            tally.faults += RETRIES + 1
            tally.ran(
                examine(here.owner, accepted, ends="error", code="attempts_exhausted", readers=[reader])
            )


def _kill_talking(stack: Stack, reader: Reader, attempt: int) -> None:
    stack.stand_by("paid_stream")
    until(lambda: _is_talking(reader, attempt), f"text of attempt {attempt}")
    stack.kill("paid_stream")
    stack.take_over("paid_stream")


def _is_talking(reader: Reader, attempt: int) -> bool | None:
    return any(e["type"] == "token_batch" and e["attempt"] == attempt for e in reader.all) or None


SECTION = Section(
    name="kills",
    promise="Who is killed loses and doubles nothing; who wakes up late writes nothing.",
    stack={
        "proxied": True,
        "fronted": ("paid_stream", "paid_vision", "events", "actions"),
        "qstash_time_scale": 0.5,
        "first_token_ms": 100,
        "overrides": {
            "LEASE_SECONDS": "1",
            "TASK_RETRIES": str(RETRIES),
            "WORKER_TIMEOUT_SECONDS": "30",
            "MAX_WAIT_SECONDS_STREAM": "40",
            "MAX_WAIT_SECONDS_BATCH": "40",
            "STREAM_FLUSH_SIZE": "2",
            "STREAM_FLUSH_INTERVAL_MS": "5000",
            "USER_MAX_ACTIVE": "60",
            "INITIAL_QUOTA": "10000",
            "MODEL_SLOTS": f'{{"{REASONER}:paid": {SLOTS}, "{VISION}:paid": {SLOTS}}}',
        },
    },
    trials=(
        Trial("SIGKILL of the lane before and after every write of a streamed task", streamed),
        Trial("SIGKILL of the lane at both steps of a task with a picture", pictures),
        Trial("SIGKILL of the lane in every attempt of a task", every_attempt),
        *OUTAGES,
        *PAUSES,
    ),
)
