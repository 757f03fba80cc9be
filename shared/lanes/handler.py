"""How a lane starts: its configuration is checked, it listens, and loads its worker after the fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Request, Response

from shared.config import LaneSettings, load_lane
from shared.routing import Lane
from shared.warming import Late, configured

if TYPE_CHECKING:
    from shared.lanes.worker import Worker

Answer = Callable[[Request], Response]


def lane_handler(lane: Lane) -> Answer:
    """Load a lane's configuration and return the function that answers it; a wrong one ends the process."""
    settings = configured(lane, lambda: load_lane(lane))
    late = Late(lambda: _load(settings), lambda worker: worker.warm())

    def answer(request: Request) -> Response:
        return late.get().answer(request)

    return answer


def _load(settings: LaneSettings) -> Worker:
    from shared.lanes.worker import Worker
    from shared.telemetry.beginning import begin

    begin(settings.telemetry, settings.lane)
    return Worker(settings)
