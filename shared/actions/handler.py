"""How `actions` starts: its configuration is checked, it listens, and loads the rest after the fork."""

from __future__ import annotations

import sys
from collections.abc import Callable

from flask import Request, Response

from shared.config import ActionsSettings, load_actions
from shared.errors import ConfigError
from shared.logs import set_up_logs
from shared.warming import Late

Answer = Callable[[Request], Response]


def actions_handler() -> Answer:
    """Load the configuration and return the function that answers `actions`; a wrong one ends the process."""
    try:
        settings = load_actions()
    except ConfigError as error:
        sys.exit(f"actions does not start: {error}")
    set_up_logs()
    late = Late(lambda: _load(settings))

    def answer(request: Request) -> Response:
        return late.get()(request)

    return answer


def _load(settings: ActionsSettings) -> Answer:
    from shared.actions.app import Application

    return Application(settings).answer
