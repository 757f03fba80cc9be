"""A browser that reads one task's stream to its end, comes back whenever its connection ends, and keeps all.

As planned it comes late, or goes away after so many events and resumes by `Last-Event-ID`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from devstack.demo.client import Frame, parse_frames
from devstack.soak.plan import ReaderPlan

TERMINAL = frozenset({"done", "error", "cancelled"})
BACK_AFTER_SECONDS = 0.3
TIMEOUT = httpx.Timeout(5.0, read=12.0)
"""Longer than two heartbeats of the soak's stack."""


@dataclass(slots=True)
class SoakReader:
    """Reads in a thread of its own, until the end of the stream or of the soak (`over`)."""

    url: str
    plan: ReaderPlan
    over: threading.Event
    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    connected: bool = False
    end: str | None = None
    """`done`, `error`, `cancelled`; the status of a refusal for good; None while it reads."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="reader", daemon=True).start()

    @property
    def last_id(self) -> str | None:
        return next((event_id for event_id, _ in reversed(self.frames) if event_id), None)

    def _run(self) -> None:
        self.over.wait(self.plan.delay_seconds)
        breaks = iter(self.plan.breaks)
        with httpx.Client(timeout=TIMEOUT) as http:
            while self.end is None and not self.over.is_set():
                try:
                    self._read_once(http, next(breaks, None))
                except (httpx.HTTPError, ValueError):
                    pass  # as a browser does: again, from where it was
                finally:
                    self.connected = False
                if self.end is None:
                    self.over.wait(BACK_AFTER_SECONDS)

    def _read_once(self, http: httpx.Client, at_most: int | None) -> None:
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        self.connections += 1
        with http.stream("GET", self.url, headers=headers) as response:
            if response.is_client_error or response.status_code == httpx.codes.NO_CONTENT:
                self.end = str(response.status_code)
            if response.status_code != httpx.codes.OK:
                return
            self.connected = True
            for number, frame in enumerate(self._frames(response), 1):
                self._keep(frame)
                if self.end is not None or number == at_most:
                    return

    def _frames(self, response: httpx.Response) -> Iterator[Frame]:
        for frame in parse_frames(response.iter_lines()):
            if self.over.is_set():
                return
            yield frame

    def _keep(self, frame: Frame) -> None:
        self.frames.append((frame.id, dict(frame.data)))
        if frame.type in TERMINAL:
            self.end = frame.type
