"""How `events` starts: its configuration is checked, it listens, and loads the bridge after the fork."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from shared.config import EventsSettings, load_events
from shared.errors import ConfigError
from shared.logs import set_up_logs
from shared.stream.collector import THRESHOLDS
from shared.warming import Late


def events_handler() -> Callable[[Request], Awaitable[Response]]:
    """Load the bridge's configuration and return the function that answers; a wrong one ends the process."""
    try:
        settings = load_events()
    except ConfigError as error:
        sys.exit(f"events does not start: {error}")
    set_up_logs()
    late = Late(lambda: _load(settings), thresholds=THRESHOLDS)

    async def answer(_request: Request) -> Response:
        response = late.loaded
        return response if response is not None else await asyncio.to_thread(late.get)

    return answer


def _load(settings: EventsSettings) -> Response:
    from shared.stream.bridge import bridge_response

    return bridge_response(settings)
