"""How `events` starts: its configuration is checked, it listens, and loads the bridge after the fork."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from shared.config import EventsSettings, load_events
from shared.stream.collector import THRESHOLDS
from shared.warming import Late, configured


def events_handler() -> Callable[[Request], Awaitable[Response]]:
    """Load the bridge's configuration and return the function that answers; a wrong one ends the process."""
    settings = configured("events", load_events)
    late = Late(lambda: _load(settings), thresholds=THRESHOLDS)

    async def answer(_request: Request) -> Response:
        response = late.loaded
        return response if response is not None else await asyncio.to_thread(late.get)

    return answer


def _load(settings: EventsSettings) -> Response:
    from shared.stream.bridge import Bridge, bridge_response
    from shared.telemetry.beginning import begin

    begin(settings.telemetry, "events")
    if settings.telemetry is None:
        return bridge_response(Bridge(settings))
    from shared.stream.observing import ObservedBridge

    return bridge_response(ObservedBridge(settings))
