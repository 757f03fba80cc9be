"""Workers that are killed: a lane at each write of a task, the bridge in mid-stream, `actions` at a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devstack.reliability.points import BATCHES_OF, CLAIMS, FINISHES, Point
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.reliability.verdict import at_rest
from devstack.reliability.waves import REASONER, Wave, scene
from devstack.stack import Stack

WAVES = 3
"""How often a point that was missed is tried: a machine that stalls for seconds makes one miss."""
Points = tuple[Point, ...]


def until_met(
    tally: Tally, points: Sequence[Points], wave: Callable[[Sequence[Points]], Sequence[Points]]
) -> None:
    """Send waves until every point has been met by one."""
    missed = points
    for _ in range(WAVES):
        if not (missed := wave(missed)):
            return
    tally.problems.append(Problem("wrong", f"never met: {', '.join(str(p) for ps in missed for p in ps)}"))


def _streamed(stack: Stack, tally: Tally, effort: Effort) -> None:
    def wave(points: Sequence[Points]) -> Sequence[Points]:
        tasks = Wave(stack, owner, tally, "paid_stream")
        tasks.start(points)
        tasks.wait_held()
        tasks.lose("paid_stream")
        return tasks.judge()

    with scene(stack) as owner:
        for _ in range(effort.rounds):
            until_met(tally, [(point,) for point in (*CLAIMS, *BATCHES_OF, *FINISHES)], wave)
    tally.problems += at_rest(stack)


SECTION = Section(
    name="kills",
    promise="A worker that is killed loses nothing and doubles nothing.",
    stack={
        "proxied": True,
        "fronted": ("paid_stream", "paid_vision", "events", "actions"),
        "qstash_time_scale": 0.5,
        "first_token_ms": 100,
        "overrides": {
            "LEASE_SECONDS": "1",
            "TASK_RETRIES": "2",
            "WORKER_TIMEOUT_SECONDS": "30",
            "MAX_WAIT_SECONDS_STREAM": "40",
            "MAX_WAIT_SECONDS_BATCH": "40",
            "STREAM_FLUSH_SIZE": "2",
            "STREAM_FLUSH_INTERVAL_MS": "5000",
            "USER_MAX_ACTIVE": "60",
            "INITIAL_QUOTA": "10000",
            "MODEL_SLOTS": f'{{"{REASONER}:paid": 30}}',
        },
    },
    trials=(Trial("SIGKILL before and after every write of a streamed task", _streamed),),
)
