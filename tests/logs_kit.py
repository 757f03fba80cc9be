"""What this process logs while a block runs, as its lines are read by machines."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

from shared.discretion import OURS
from shared.logs import SERVERS, set_up_logs
from shared.settings import LogFormat, LogSettings

JSON = LogSettings("INFO", LogFormat.JSON)


class Log(io.StringIO):
    """What a process has written to its log."""

    def lines(self) -> list[dict[str, Any]]:
        """Return what has been logged as JSON; fails on any line that is none."""
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def told(self, *events: str) -> list[dict[str, Any]]:
        """Return the lines of these events."""
        return [line for line in self.lines() if line.get("event") in events]

    def line(self) -> dict[str, Any]:
        (only,) = self.lines()
        return only


@contextlib.contextmanager
def logging_to(out: Log, settings: LogSettings = JSON, function: str = "lamp") -> Iterator[Log]:
    """A process that has set up its logs; this process is as it was afterwards."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    level, raises = logging.getLogger(OURS).level, logging.raiseExceptions
    try:
        with contextlib.redirect_stderr(out):
            set_up_logs(settings, function)
            yield out
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        logging.raiseExceptions = raises
        logging.captureWarnings(capture=False)
        logging.getLogger(OURS).setLevel(level)
        root.handlers = handlers
        for name in SERVERS:
            logging.getLogger(name).filters.clear()
