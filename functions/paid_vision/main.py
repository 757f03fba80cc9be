"""The function of the lane `paid_vision`: takes QStash's deliveries for it, and nothing else."""

import functions_framework
from flask import Request, Response

from shared.lanes.handler import lane_handler
from shared.routing import Lane

_handle = lane_handler(Lane.PAID_VISION)


@functions_framework.http
def paid_vision(request: Request) -> Response:
    return _handle(request)
