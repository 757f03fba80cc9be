"""The story: what one user does, in order, and what the demo expects of each answer.

The user has eight coins. Five tasks of the paid lanes spend them all; what follows takes the free lanes.
Three things go wrong on the way, on purpose: a worker is killed, a queue is full, the readers' network fails.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from devstack.demo.board import Board, Mood, TurnedAway
from devstack.demo.client import Client, Frame, Refusal
from devstack.demo.material import SampleFile, sample
from devstack.demo.screen import Screen
from devstack.demo.tracking import Follower, Tracked
from devstack.demo.words import Words
from devstack.stack import Stack
from shared.routing import Lane

COINS = 8
COSTS = {
    "upload-resume": 1,
    "upload-detailed-resume": 1,
    "create-service": 2,
    "customize-resume": 2,
    "interview-tips": 2,
}
FRONTED = ("events", Lane.PAID_STREAM)
"""The functions whose network can be cut, and whose place another instance can take."""
SETTINGS: Mapping[str, str] = {
    "INITIAL_QUOTA": str(COINS),
    "USER_MAX_ACTIVE": "6",
    "QUEUE_MAX_SIZE": "6",
    "QUEUE_MAX_FREE_STREAM": "3",
    "LEASE_SECONDS": "4",
}
"""Small limits, so that they are seen at work: a queue that is full, a lease that runs out."""
KILL_AFTER_CHARACTERS = 500
CUT_AFTER_CHARACTERS = 600
CUT_SECONDS = 1.2
MAX_TRIES = 10
_POLL_SECONDS = 0.03


class StoryStopped(Exception):
    """A chapter did not end well; the rest of the story depends on it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that the user asks for, the same each time that it is sent."""

    title: str
    action: str
    locale: str
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, SampleFile] = field(default_factory=dict)
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(slots=True)
class Outcomes:
    """What has to be proved about the story afterwards."""

    spent: int = 0
    surprises: list[str] = field(default_factory=list)
    replayed: bool = False
    killed: list[Tracked] = field(default_factory=list)
    refused: Refusal | None = None
    tries: int = 0


@dataclass(slots=True)
class Story:
    """Plays the story.

    Attributes:
        stack: what is broken on purpose.
        client: the user.
        board: where all of it is noted.
        screen: who is told of it.
        words: the language that the user speaks, and the demo.
        task_seconds: how long a task may take.
        outcomes: what came of it.
    """

    stack: Stack
    client: Client
    board: Board
    screen: Screen
    words: Words
    task_seconds: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    _followers: list[Follower] = field(default_factory=list)
    _killed_at: float = 0.0

    def play(self) -> None:
        """Play all of it; each chapter waits for its tasks to end.

        Raises:
            StoryStopped: a task did not end well.
            Refusal: a request was refused that should not have been.
        """
        self._upload()
        service_id = self._match()
        self._crowd(service_id)

    # -- the chapters ----------------------------------------------------------------------------------------

    def _upload(self) -> None:
        self._chapter("upload")
        locale = self.words.locale
        resume, history = SampleFile(f"resume.{locale}.pdf"), SampleFile(f"history.{locale}.docx")
        self._start(self._request("resume", "upload-resume", files={"file": resume}))
        self._start(self._request("history", "upload-detailed-resume", files={"file": history}))
        self._all_done()

    def _match(self) -> str:
        self._chapter("match")
        text = self._request("match", "create-service", jobText=sample(f"job.{self.words.locale}"))
        match = self._start(text)
        self._start(self._request("photo", "create-service", files={"image": self._photo}))
        self._send_again(text, match)
        self._kill_while_it_writes(match)
        self._all_done()
        return match.service_id

    def _crowd(self, service_id: str) -> None:
        self._chapter("crowd")
        other = self.words.other_locale
        self._start(self._request("tailored", "customize-resume", serviceId=service_id))
        tips = self._start(self._request("tips", "interview-tips", serviceId=service_id))
        title = self.words("task.other", language=self.words("other"))
        self._start(Request(title, "create-service", other, {"jobText": sample(f"job.{other}")}))
        self._start(self._request("free_photo", "create-service", files={"image": self._photo}))
        last = self._request("last", "create-service", jobText=sample(f"job.{self.words.locale}"))
        told = self._is_refused(last)
        self._cut_while_it_writes(tips)
        self._come_again(last, told)
        self._all_done()

    @property
    def _photo(self) -> SampleFile:
        return SampleFile(f"job-photo.{self.words.locale}.jpg")

    def _request(
        self, name: str, action: str, files: Mapping[str, SampleFile] | None = None, **fields: str
    ) -> Request:
        return Request(self.words(f"task.{name}"), action, self.words.locale, fields, files or {})

    # -- what goes wrong -------------------------------------------------------------------------------------

    def _send_again(self, request: Request, first: Tracked) -> None:
        """Send a request again, as a browser does after a lost answer: the same task, debited once."""
        again = self._send(request)
        self.outcomes.replayed = bool(again["replay"]) and again["taskId"] == first.task_id
        self._tell(Mood.STEP, "replay")

    def _kill_while_it_writes(self, task: Tracked) -> None:
        lane = Lane.PAID_STREAM
        self.stack.stand_by(lane)  # as a platform does, so that the place of a dead instance is taken soon
        self._wait_for_text(task, KILL_AFTER_CHARACTERS)
        self.outcomes.killed = [
            each for each in self._open_tasks() if each.lanes[-1:] == [lane] and each.text
        ]
        self.stack.kill(lane)
        self._killed_at = time.monotonic()
        self._tell(Mood.HURT, "killed", lane=lane, characters=len(task.text))
        self.stack.take_over(lane)
        self._tell(Mood.STEP, "replaced", lane=lane)

    def _is_refused(self, request: Request) -> float:
        """Ask for one more than the queue has places for; returns when to come again."""
        try:
            accepted = self._send(request)
        except Refusal as refusal:
            self.outcomes.refused = refusal
            seconds = float(refusal.retry_after_seconds or 0)
            self._tell(Mood.HURT, "full", title=request.title, lane=refusal.queue_id, seconds=int(seconds))
            self.board.turned_away = TurnedAway(request.title, time.monotonic() + seconds)
            return seconds
        self._follow(request, accepted, time.monotonic())
        return 0.0

    def _come_again(self, request: Request, told_seconds: float) -> None:
        """Come again when it was said, as often as it is said."""
        away = self.board.turned_away
        while away is not None:
            time.sleep(max(0.0, away.again_at - time.monotonic()))
            self.outcomes.tries += 1
            sent_at = time.monotonic()
            try:
                accepted = self._send(request)
            except Refusal as refusal:
                if not refusal.retry_after_seconds or self.outcomes.tries >= MAX_TRIES:
                    raise
                again_at = time.monotonic() + float(refusal.retry_after_seconds)
                self.board.turned_away = away = TurnedAway(request.title, again_at)
                continue
            self.board.turned_away = away = None
            self._follow(request, accepted, sent_at)
            once = self.outcomes.tries == 1
            phrase = "back" if once else "back_again"
            self._tell(Mood.GOOD, phrase, title=request.title, seconds=int(told_seconds))

    def _cut_while_it_writes(self, task: Tracked) -> None:
        self._wait_for_text(task, CUT_AFTER_CHARACTERS)
        bridge = self.stack.front("events")
        bridge.refuse()
        self._tell(Mood.HURT, "cut")
        time.sleep(CUT_SECONDS)
        bridge.resume()
        self._tell(Mood.STEP, "uncut")

    def _wait_for_text(self, task: Tracked, characters: int) -> None:
        deadline = time.monotonic() + self.task_seconds
        while len(task.text) < characters:
            if task.ended_at is not None or time.monotonic() > deadline:
                raise StoryStopped(self.words("found.late", title=task.title))
            time.sleep(_POLL_SECONDS)

    # -- sending and following -------------------------------------------------------------------------------

    def _start(self, request: Request) -> Tracked:
        sent_at = time.monotonic()
        return self._follow(request, self._send(request), sent_at)

    def _send(self, request: Request) -> Mapping[str, object]:
        fields = {**request.fields, "locale": request.locale}
        return self.client.act(request.action, fields, files=request.files, idempotency_key=request.key)

    def _follow(self, request: Request, accepted: Mapping[str, object], sent_at: float) -> Tracked:
        """Follow an accepted task; whether it is paid is known beforehand; all else is a surprise."""
        task = Tracked(request.title, accepted, sent_at)
        coins, cost = COINS - self.outcomes.spent, COSTS[request.action]
        if task.is_free == (cost <= coins):
            surprise = self.words("found.surprise", title=task.title, free=task.is_free, coins=coins)
            self.outcomes.surprises.append(surprise)
        if not task.is_free:
            self.outcomes.spent += cost
        self.board.tasks.append(task)
        self._read_balance()
        facts = {"title": task.title, "cost": cost, "before": coins, "coins": coins - cost}
        self._tell(Mood.STEP, "free" if task.is_free else "paid", **facts)
        self._followers.append(
            Follower(
                task,
                give_up_after_seconds=self.task_seconds,
                on_event=self._on_event,
                on_resumed=self._on_resumed,
            )
        )
        return task

    def _on_event(self, task: Tracked, frame: Frame) -> None:
        """Tell what is worth telling; called from the followers' threads."""
        match frame.type:
            case "start" if frame.data["attempt"] > 1:
                self._tell_again(task, int(frame.data["attempt"]))
            case "backpressure" | "retrying" if self._is_news(task, frame):
                self._tell(Mood.WAIT, frame.type, title=task.title)
            case "error" | "cancelled":
                message = frame.data.get("message", "")
                self._tell(Mood.HURT, "wrong", title=task.title, state=frame.type, message=message)
        self.screen.event(task, frame)

    def _on_resumed(self, task: Tracked) -> None:
        if task.text:
            self._tell(Mood.GOOD, "resumed", title=task.title, characters=len(task.text))

    def _tell_again(self, task: Tracked, attempt: int) -> None:
        phrase = "again" if task in self.outcomes.killed else "again_other"
        seconds = time.monotonic() - self._killed_at
        self._tell(Mood.GOOD, phrase, title=task.title, attempt=attempt, seconds=seconds)

    @staticmethod
    def _is_news(task: Tracked, frame: Frame) -> bool:
        return frame.type == "retrying" or task.backpressure == 1

    def _all_done(self) -> None:
        for follower in self._followers:
            follower.join()
        self._followers.clear()
        unfinished = [task.title for task in self.board.tasks if task.state != "done"]
        if unfinished:
            raise StoryStopped(self.words("found.not_done", titles=", ".join(unfinished)))

    def _open_tasks(self) -> list[Tracked]:
        return [task for task in self.board.tasks if task.ended_at is None]

    def _read_balance(self) -> None:
        self.board.balance = self.client.get("/quota")["balance"]

    # -- telling ---------------------------------------------------------------------------------------------

    def _chapter(self, name: str) -> None:
        self._read_balance()
        title = self.words(f"chapter.{name}")
        self.board.begin(title)
        self.screen.told(self.board.tell(Mood.CHAPTER, title))

    def _tell(self, mood: Mood, phrase: str, **facts: object) -> None:
        self.screen.told(self.board.tell(mood, self.words(f"tell.{phrase}", **facts)))
