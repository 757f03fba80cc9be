"""The story: what one user does, in order, and what the demo expects of each answer.

The user has eight coins. Five tasks of the paid lanes spend them all; what follows takes the free lanes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.demo.board import Board
from devstack.demo.client import Client, Refusal
from devstack.demo.material import data_url, draw, sample
from devstack.demo.screen import Screen
from devstack.demo.tracking import Follower, Tracked

COINS = 8
COSTS = {
    "upload-resume": 1,
    "upload-detailed-resume": 1,
    "create-service": 2,
    "customize-resume": 2,
    "interview-tips": 2,
}


@dataclass(slots=True)
class Story:
    """Plays the story and keeps what has to be proved about it afterwards."""

    client: Client
    board: Board
    screen: Screen
    spent: int = 0
    surprises: list[str] = field(default_factory=list)
    replayed: bool = False
    refused: Refusal | None = None

    def play(self) -> None:
        """Play all of it; each chapter waits for its tasks to end."""
        self._chapter("A résumé is uploaded")
        self._together(self._start("Résumé (en)", "upload-resume", text=sample("resume.en")))

        self._chapter("Two advertisements, one of them a picture, and the detailed history")
        key = str(uuid.uuid4())
        match = self._start("Match, text (en)", "create-service", key=key, jobText=sample("job.en"))
        picture = data_url(draw(sample("job-image.en")))
        image = self._start("Match, picture (en)", "create-service", jobImage=picture)
        history = self._start("History (en)", "upload-detailed-resume", text=sample("history.en"))
        self._replay(match, key)
        self._one_too_many()
        self._together(match, image, history)

        self._chapter("The last coins; then the free lanes take over")
        service = match.service_id
        customised = self._start("Customised résumé", "customize-resume", serviceId=service)
        tips = self._start("Interview tips", "interview-tips", serviceId=service)
        chinese = self._start("Match, text (zh)", "create-service", jobText=sample("job.zh"), locale="zh")
        self._together(customised, tips, chinese)

        self._chapter("The free lane reads a picture and a résumé")
        free_image = self._start("Match, picture, free", "create-service", jobImage=picture)
        resume = self._start("Résumé (zh)", "upload-resume", text=sample("resume.zh"), locale="zh")
        self._together(free_image, resume)

    def _chapter(self, title: str) -> None:
        self._read_balance()
        self.screen.chapter(title)

    def _start(
        self, title: str, action: str, *, key: str | None = None, locale: str = "en", **body: str
    ) -> Tracked:
        """Start an action; whether it is paid is known beforehand, and anything else is a surprise."""
        sent_at = time.monotonic()
        accepted = self.client.act(action, {**body, "locale": locale}, idempotency_key=key)
        tracked = Tracked(title, accepted, sent_at)
        coins = COINS - self.spent
        if tracked.is_free == (COSTS[action] <= coins):
            self.surprises.append(f"{title}: isFree is {tracked.is_free} with {coins} coins left")
        if not tracked.is_free:
            self.spent += COSTS[action]
        self.board.tasks.append(tracked)
        self.screen.task_started(tracked)
        self._followers.append(Follower(tracked, self.screen.event))
        self._read_balance()
        return tracked

    _followers: list[Follower] = field(default_factory=list)

    def _together(self, *tasks: Tracked) -> None:
        for follower in self._followers:
            follower.join()
        self._followers.clear()
        unfinished = [task.title for task in tasks if task.state != "done"]
        if unfinished:
            raise StoryStopped(f"not done: {', '.join(unfinished)}")

    def _replay(self, first: Tracked, key: str) -> None:
        """Send a request again, as a browser does after a lost answer: the same task, debited once."""
        again = self.client.act(
            "create-service", {"jobText": sample("job.en"), "locale": "en"}, idempotency_key=key
        )
        self.replayed = bool(again["replay"]) and again["taskId"] == first.task_id

    def _one_too_many(self) -> None:
        """Ask for a fourth task at once: refused, with the time to come back, and nothing debited."""
        body: Mapping[str, Any] = {"text": sample("resume.en"), "locale": "en"}
        try:
            self.client.act("upload-resume", body)
        except Refusal as refusal:
            self.refused = refusal

    def _read_balance(self) -> None:
        self.board.balance = self.client.get("/quota")["balance"]


class StoryStopped(Exception):
    """A chapter did not end well; the rest of the story depends on it."""
