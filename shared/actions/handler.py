"""How `actions` starts: its configuration is checked, it listens, and loads the rest after the fork."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request, Response

from shared.config import ActionsSettings, load_actions
from shared.warming import Late, configured

Answer = Callable[[Request], Response]


def actions_handler() -> Answer:
    """Load the configuration and return the function that answers `actions`; a wrong one ends the process."""
    settings = configured("actions", load_actions)
    late = Late(lambda: _load(settings))

    def answer(request: Request) -> Response:
        return late.get()(request)

    return answer


def _load(settings: ActionsSettings) -> Answer:
    from shared.actions.app import Application
    from shared.telemetry.beginning import begin

    begin(settings.telemetry, "actions")
    return Application(settings).answer
