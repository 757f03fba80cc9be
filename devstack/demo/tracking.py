"""One task as its user sees it: built from the events of its stream alone, in a thread that follows it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from devstack.demo.client import Frame, follow
from shared.routing import Template

_SCORE = re.compile(r"score: (\d{1,3})\n")


@dataclass(slots=True)
class Step:
    """A step of a task, as its events tell it."""

    lane: str
    template: str = ""
    attempt: int = 0
    text: str = ""

    @property
    def streams(self) -> bool:
        return bool(self.template) and Template(self.template).streams


@dataclass(slots=True)
class Tracked:
    """A task on its way. Its follower writes it; what a screen reads may be a moment old."""

    title: str
    accepted: Mapping[str, Any]
    sent_at: float
    steps: list[Step] = field(default_factory=list)
    state: str = "accepted"
    eta_at: float | None = None
    """When it is to run, by what was said when it was queued; None when nobody could say."""
    resumed: int = 0
    """How often its reader's connection was lost and found again."""
    dropped_characters: int = 0
    """Text of attempts that were lost, which the next attempt replaced."""
    first_text_at: float | None = None
    ended_at: float | None = None
    terminal: Frame | None = None
    backpressure: int = 0
    event_count: int = 0
    tokens: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        return str(self.accepted["taskId"])

    @property
    def service_id(self) -> str:
        return str(self.accepted["serviceId"])

    @property
    def is_free(self) -> bool:
        return bool(self.accepted["isFree"])

    @property
    def text(self) -> str:
        """Return the text of the step that streams, so far."""
        return self.steps[-1].text if self.steps else ""

    @property
    def score(self) -> int | None:
        """Return what the first line of a match says, once it has come."""
        found = _SCORE.match(self.text)
        return int(found[1]) if found else None

    @property
    def attempt(self) -> int:
        """Return the highest attempt that any of its steps needed."""
        return max((step.attempt for step in self.steps), default=0)

    @property
    def outcome(self) -> str:
        """Return how it stands, and what its last event said of it."""
        message = self.terminal.data.get("message", "") if self.terminal else ""
        return f"{self.state} {message}".strip()

    @property
    def lanes(self) -> list[str]:
        return [step.lane for step in self.steps]

    @property
    def first_text_seconds(self) -> float | None:
        """Return the time from the user's request to the first visible text."""
        return None if self.first_text_at is None else self.first_text_at - self.sent_at

    @property
    def total_seconds(self) -> float | None:
        return None if self.ended_at is None else self.ended_at - self.sent_at

    def apply(self, frame: Frame, now: float) -> None:
        """Take in one event, as a page would: its text is appended only where it belongs."""
        self.event_count += 1
        match frame.type:
            case "queued":
                self.state = "queued"
                eta_seconds = frame.data.get("etaSeconds")
                self.eta_at = None if eta_seconds is None else now + eta_seconds
                self._step(frame.data)
            case "start":
                self.state = "running"
                step = self._step(frame.data)
                self.dropped_characters += len(step.text)
                step.template, step.attempt, step.text = frame.data["templateId"], frame.data["attempt"], ""
            case "token_batch":
                self._append(frame.data, now)
            case "resync":
                self._step(frame.data).text = frame.data["text"]
            case "backpressure":
                self.state = "waiting"
                self.backpressure += 1
            case "retrying":
                self.state = "retrying"
            case "done" | "error" | "cancelled":
                self.state, self.terminal, self.ended_at = frame.type, frame, now

    def _step(self, data: Mapping[str, Any]) -> Step:
        number = int(data["step"])
        while len(self.steps) <= number:
            self.steps.append(Step(lane=data.get("queueId", "?")))
        return self.steps[number]

    def _append(self, data: Mapping[str, Any], now: float) -> None:
        step = self._step(data)
        if data["offset"] != len(step.text):
            self.problems.append(f"text at {data['offset']} after {len(step.text)} code points")
        step.text += data["text"]
        if data["text"] and self.first_text_at is None:
            self.first_text_at = now


class Follower:
    """A thread that follows one task's stream into a Tracked, and tells a listener of each event."""

    def __init__(
        self,
        tracked: Tracked,
        *,
        give_up_after_seconds: float,
        on_event: Callable[[Tracked, Frame], None],
        on_resumed: Callable[[Tracked], None],
    ) -> None:
        self._tracked = tracked
        self._give_up_after_seconds = give_up_after_seconds
        self._on_event = on_event
        self._on_resumed = on_resumed
        self._thread = threading.Thread(target=self._run, name=f"follow {tracked.title}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Return when the task has ended, or was given up on."""
        self._thread.join()

    def _run(self) -> None:
        tracked = self._tracked
        frames = follow(
            tracked.accepted["streamUrl"],
            give_up_after_seconds=self._give_up_after_seconds,
            on_resumed=self._resumed,
        )
        try:
            for frame in frames:
                tracked.apply(frame, time.monotonic())
                self._on_event(tracked, frame)
        except (TimeoutError, httpx.HTTPError, KeyError, ValueError) as error:
            tracked.problems.append(f"{type(error).__name__}: {error}")

    def _resumed(self) -> None:
        self._tracked.resumed += 1
        self._on_resumed(self._tracked)
