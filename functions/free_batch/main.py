"""The function of the lane `free_batch`: takes QStash's deliveries for it, and nothing else."""

import functions_framework
from flask import Request, Response

from shared.lanes.handler import lane_handler
from shared.routing import Lane

_handle = lane_handler(Lane.FREE_BATCH)


@functions_framework.http
def free_batch(request: Request) -> Response:
    return _handle(request)
