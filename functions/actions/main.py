"""The function `actions`: what a frontend calls, and the only producer."""

import functions_framework
from flask import Request, Response

from shared.actions.handler import actions_handler

_handle = actions_handler()


@functions_framework.http
def actions(request: Request) -> Response:
    return _handle(request)
