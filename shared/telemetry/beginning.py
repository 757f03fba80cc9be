"""How a process begins to say something: after the web server's fork, if its configuration asks for it."""

from __future__ import annotations

from shared.settings import TelemetrySettings
from shared.telemetry.signals import hold


def begin(settings: TelemetrySettings | None, function: str) -> None:
    """Send this process's signals from now on; without settings nothing is imported and nothing is sent."""
    if settings is None:
        return
    from shared.telemetry.exporting import open_recording

    hold(open_recording(settings, function))
