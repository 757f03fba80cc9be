"""The function `events` in a process of its own, a browser for it, and a task moved by the real transitions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from devstack.valkey import free_port
from shared.auth import StreamTokens
from shared.config import ConcurrencyConfig, StreamSettings, TimeSettings
from shared.routing import CREATE_SERVICE_TEXT, Lane, Model, Template, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Attempt, Claim, Finished, Step
from shared.state.store import Store
from shared.state.tasks import Tasks
from shared.stream.events import Done, encode
from shared.stream.publisher import AttemptWriter

ROOT = Path(__file__).parents[3]
SECRET = "a stream token secret for tests only"
ORIGIN = "https://page.example"
REF = TaskRef("t1", "s1", "u1")
KEY = keys.events("u1", "s1", "t1")


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.005)


class BridgeProcess:
    """The function `events`, served as it is deployed."""

    before: Sequence[str] = ()
    """What the command is given to, for a process under other conditions."""

    def __init__(self, redis_url: str, **overrides: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error::ResourceWarning",
            "SLUICE_ENV": "dev",
            "REDIS_URL": redis_url,
            "STREAM_TOKEN_SECRET": SECRET,
            "ALLOWED_ORIGINS": ORIGIN,
            **overrides,
        }
        command = [
            sys.executable,
            "-m",
            "functions_framework",
            "--source",
            str(ROOT / "functions/events/main.py"),
        ]
        self.process = subprocess.Popen(
            [*self.before, *command, "--target", "events", "--host", "127.0.0.1", "--port", str(self.port)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        until(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> str:
        """Ask it to end and return what it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            output, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return output.decode()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[0].decode()
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.TransportError:
            return False


@dataclass(frozen=True)
class Frame:
    event: str
    id: str | None
    data: dict[str, Any]


class Reader:
    """What a browser's EventSource does with a response, one line at a time."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()
        self.comments: list[str] = []
        self.retry_ms: list[int] = []

    def frames(self) -> Iterator[Frame]:
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(line)
            elif name == "retry":
                self.retry_ms.append(int(value))
            elif line:
                fields[name] = value
            elif fields:
                yield Frame(fields["event"], fields.get("id"), json.loads(fields["data"]))
                fields = {}

    def next(self) -> Frame:
        return next(self.frames())

    def take(self, count: int) -> list[Frame]:
        return [self.next() for _ in range(count)]

    def rest(self) -> list[Frame]:
        """Read until the bridge closes the connection."""
        return list(self.frames())


def text_of(frames: list[Frame]) -> str:
    """Put the text together as a page does; fails at a gap, a double or another attempt's text."""
    text, attempt = "", 0
    for frame in frames:
        match frame.event:
            case "start":
                text, attempt = "", frame.data["attempt"]
            case "resync":
                text, attempt = frame.data["text"], frame.data["attempt"]
            case "token_batch":
                assert (frame.data["attempt"], frame.data["offset"]) == (attempt, len(text))
                text += frame.data["text"]
    return text


class Browser:
    """A client of one bridge."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def address(self, ref: TaskRef = REF, **query: str) -> str:
        token = StreamTokens(SECRET, 60).issue(ref.user_id, ref.service_id, ref.task_id)
        return str(
            httpx.URL(f"{self.url}/events/{ref.service_id}/{ref.task_id}", params={"token": token} | query)
        )

    def get(
        self, ref: TaskRef = REF, *, headers: dict[str, str] | None = None, **query: str
    ) -> httpx.Response:
        return self.http.get(self.address(ref, **query), headers=headers)

    @contextmanager
    def read(self, ref: TaskRef = REF, *, last_event_id: str | None = None, **query: str) -> Iterator[Reader]:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with self.http.stream("GET", self.address(ref, **query), headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield Reader(response)


class Work:
    """One task, moved along by the real transitions."""

    def __init__(
        self, store: Store, ref: TaskRef = REF, *, lease_seconds: float = 30, maxlen: int = 10_000
    ) -> None:
        self.store = store
        self.ref = ref
        self.key = keys.events(ref.user_id, ref.service_id, ref.task_id)
        limits = ConcurrencyConfig(5, 2, {}, 100, {}, 3)
        clock = TimeSettings(lease_seconds, 300, 480, 600, 3, 5, 604_800, 31_536_000)
        self.stream = StreamSettings(1, 64, 86_400, maxlen, 15, 840)
        self.tasks = Tasks(store, concurrency=limits, time=clock, stream=self.stream)
        fields = {"jobText": '"a job"'}
        answer = self.tasks.admit(
            Admission(ref, CREATE_SERVICE_TEXT, "en", {}, initial_quota=8, service_fields=fields)
        )
        assert answer.status == "accepted"
        self._writers: dict[str, AttemptWriter] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def claim(self) -> Attempt:
        claim = self.try_claim()
        assert claim.attempt is not None, claim
        return claim.attempt

    def try_claim(self) -> Claim:
        at = Step(Template.JOB_MATCH, Lane.PAID_STREAM, Model.DEEPSEEK_REASONER, 0)
        return self.tasks.claim(self.ref, step=0, at=at, tier=Tier.PAID, nonce=str(time.monotonic_ns()))

    def writer(self, attempt: Attempt) -> AttemptWriter:
        """Return the attempt's one writer."""
        if attempt.epoch not in self._writers:
            writer = AttemptWriter(
                self.store,
                self.key,
                task_id=self.ref.task_id,
                step=0,
                attempt=attempt.number,
                epoch_ms=int(attempt.epoch),
                settings=self.stream,
            )
            self._writers[attempt.epoch] = self._open.enter_context(writer)
        return self._writers[attempt.epoch]

    def say(self, attempt: Attempt, *tokens: str) -> None:
        """Store each token as a batch of its own."""
        for token in tokens:
            self.writer(attempt).token(token)
            self.writer(attempt).drain()

    def finish(self, attempt: Attempt, text: str) -> None:
        result = {"text": text, "score": 80}
        done = Done(result=result, usage={"cost": 0.1}, latency_ms=5, text_length=len(text))
        event = encode(done, task_id=self.ref.task_id, attempt=attempt.number)
        assert self.tasks.finish(attempt, Finished(event, result, {"cost": 0.1})) == "done"

    def ids(self) -> list[str]:
        return [id_ for id_, _ in self.store.command("XRANGE", self.key, "-", "+")]

    def expire_stream(self) -> None:
        self.store.command("DEL", self.key)


def commands_served(store: Store) -> dict[str, int]:
    """Return how often Redis has run each command since the last CONFIG RESETSTAT."""
    lines = [
        line for line in store.command("INFO", "commandstats").splitlines() if line.startswith("cmdstat_")
    ]
    return {line.split(":")[0][8:]: int(line.split("calls=")[1].split(",")[0]) for line in lines}


def blocked_readers(store: Store) -> int:
    return sum(
        " cmd=xread " in line and " flags=b " in line for line in store.command("CLIENT", "LIST").splitlines()
    )
