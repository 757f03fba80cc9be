"""The function of the lane `free_stream`: takes QStash's deliveries for it, and nothing else."""

import functions_framework
from flask import Request, Response

from shared.lanes.handler import lane_handler
from shared.routing import Lane

_handle = lane_handler(Lane.FREE_STREAM)


@functions_framework.http
def free_stream(request: Request) -> Response:
    return _handle(request)
