"""The functions at both ends of the way, killed: `events` while it is read, `actions` between two steps."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from devstack.frontend import JOB, Reader
from devstack.reliability.points import SECOND, Points, at
from devstack.reliability.scenes import Scene, scene
from devstack.reliability.tally import Tally
from devstack.reliability.trials import Effort, Trial
from devstack.reliability.verdict import TERMINAL, examine
from devstack.reliability.waves import Wave
from devstack.stack import Stack

READERS = 6
HAND_OVERS = at("begin_publish") + at("confirm_publish")
"""When the first step's callback has the second published: around the number, and around QStash's answer."""


class EventSource(Reader):
    """A browser that comes back with the last id it has seen, until it has seen the end."""

    def _read(self) -> None:
        while not TERMINAL & set(self.types):
            try:
                super()._read()
            except httpx.HTTPError:
                self.last_event_id = self.events[-1][0] if self.events else None


def bridge(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Kill the bridge under readers in mid-stream: each goes on where it was."""
    with scene(stack, tally, effort) as here:
        for _ in range(effort.rounds):
            stack.stand_by("events")
            accepted = here.owner.act("create-service", {"jobText": JOB, "locale": "en"})
            readers: list[Reader] = [EventSource(accepted["streamUrl"]) for _ in range(READERS)]
            for reader in readers:
                reader.wait_for("token_batch")
            stack.kill("events")
            stack.take_over("events")
            tally.faults += 1
            tally.ran(examine(here.owner, accepted, said=SECOND, readers=readers))


def hand_over(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Kill `actions` while a callback has the second step published."""
    with scene(stack, tally, effort) as here:
        here.until_met([(point,) for point in HAND_OVERS], _wave_of_hand_overs)


def _wave_of_hand_overs(here: Scene, points: Sequence[Points]) -> list[Points]:
    wave = Wave(here, "actions")
    wave.start(points, kind="image")
    wave.wait_held()
    held = [task for task in wave.tasks if task.is_held()]
    wave.kill("actions")
    missed = wave.judge()
    here.stack.qstash.wait_until_idle()
    return missed or [task.points for task in wave.tasks if task not in held]


OUTAGES = (
    Trial("SIGKILL of `events` in mid-stream, under readers who come back", bridge),
    Trial("SIGKILL of `actions` before and after each write between two steps", hand_over),
)
