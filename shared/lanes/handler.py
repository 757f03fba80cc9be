"""How a lane starts: its configuration is checked, it listens, and loads its worker after the fork."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Request, Response

from shared.config import LaneSettings, load_lane
from shared.errors import ConfigError
from shared.logs import set_up_logs
from shared.routing import Lane
from shared.warming import Late

if TYPE_CHECKING:
    from shared.lanes.worker import Worker

Answer = Callable[[Request], Response]


def lane_handler(lane: Lane) -> Answer:
    """Load a lane's configuration and return the function that answers it; a wrong one ends the process."""
    try:
        settings = load_lane(lane)
    except ConfigError as error:
        sys.exit(f"{lane} does not start: {error}")
    set_up_logs()
    late = Late(lambda: _load(settings), _warm)

    def answer(request: Request) -> Response:
        return late.get().answer(request)

    return answer


def _load(settings: LaneSettings) -> Worker:
    from shared.lanes.worker import Worker

    return Worker(settings)


def _warm(worker: Worker) -> None:
    worker.warm()
