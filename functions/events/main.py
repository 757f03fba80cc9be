"""The function `events`: the SSE bridge that browsers read."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from shared.stream.handler import events_handler

_handle = events_handler()


@functions_framework.aio.http
async def events(request: Request) -> Response:
    return await _handle(request)
