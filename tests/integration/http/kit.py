"""What the tests over HTTP share: the real handlers behind real servers, a QStash that only records, a scripted model.

A task's whole way is walked by hand: a frontend's request goes to `actions`, its publish is recorded, and a test
delivers it, signed, to the lane's server, as often and as late as it likes. Public URLs are names that lead nowhere:
what is signed is the configured URL, never the address a request came to.
"""

from __future__ import annotations

import base64
import io
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
import jwt
import PIL.Image
import PIL.ImageDraw

from devstack.qstash.signing import DEV_KEYS, DEV_TOKEN, Keyring
from shared.actions.app import Application
from shared.config import load_actions, load_lane
from shared.lanes.worker import Worker
from shared.routing import Lane
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Step
from shared.state.store import Store, open_store
from shared.state.tasks import Tasks
from tests.integration.http.stand_ins import Published, RecordingQStash, ScriptedModel, plain_client, serve

ACTIONS_URL = "https://actions.sluice.test"
EVENTS_URL = "https://events.sluice.test"
ORIGIN = "https://app.sluice.test"
JWT_SECRET = "a secret of users' tokens, of thirty-two bytes and more"
STREAM_SECRET = "a secret of stream tokens, of thirty-two bytes and more"


def picture(format_name: str = "PNG") -> bytes:
    """Return a small picture with something in it."""
    drawn = PIL.Image.new("RGB", (120, 80), "white")
    PIL.ImageDraw.Draw(drawn).text((8, 30), "Engine programmer", fill="black")
    out = io.BytesIO()
    drawn.save(out, format_name)
    return out.getvalue()


PNG = picture()
RESUME = "Ada Lovelace, mathematician. Wrote the first program, for a machine that was never built."
JOB = "We look for a mathematician who can program machines that do not exist yet."


# -- the world -------------------------------------------------------------------------------------------------------


def lane_url(lane: Lane) -> str:
    return f"https://{lane.replace('_', '-')}.sluice.test"


def user_token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600}, JWT_SECRET, algorithm="HS256")


def sign(url: str, body: bytes) -> str:
    return Keyring(DEV_KEYS, random.Random()).sign(url, body, now_seconds=time.time())


class World:
    """`actions` and the five lanes on one Redis, each served when it is first needed.

    Args:
        environ: variables that differ from the defaults: limits and durations.
    """

    def __init__(self, redis_url: str, blobs: Path, environ: Mapping[str, str] | None = None) -> None:
        self.blobs = blobs
        self.environ = {
            "SLUICE_ENV": "dev",
            "REDIS_URL": redis_url,
            "QSTASH_CURRENT_SIGNING_KEY": DEV_KEYS.current,
            "QSTASH_NEXT_SIGNING_KEY": DEV_KEYS.next,
            "QSTASH_TOKEN": DEV_TOKEN,
            "AUTH_JWT_SECRET": JWT_SECRET,
            "STREAM_TOKEN_SECRET": STREAM_SECRET,
            "ALLOWED_ORIGINS": ORIGIN,
            "BLOB_URL": blobs.as_uri(),
            "ACTIONS_URL": ACTIONS_URL,
            "EVENTS_URL": EVENTS_URL,
            "DEEPSEEK_API_KEY": "unused",
            "GLM_API_KEY": "unused",
            "STREAM_FLUSH_INTERVAL_MS": "5",
            **{lane.url_variable: lane_url(lane) for lane in Lane},
            **(environ or {}),
        }
        self.qstash = RecordingQStash()
        self.publisher: Callable[[], httpx.Client] = lambda: plain_client(1)
        """Makes the client that publishes; an impatient one."""
        self.model = ScriptedModel()
        self._open = ExitStack()
        self._lanes: dict[Lane, str] = {}
        self.http = self._open.enter_context(plain_client(30))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.qstash.open_gate.set()
        self._open.close()

    def change(self, **environ: str) -> None:
        """Change the configuration of whatever is started from now on."""
        self.environ.update(environ)

    @cached_property
    def application(self) -> Application:
        qstash_url = self._open.enter_context(self.qstash.serve())
        settings = load_actions({"QSTASH_URL": qstash_url, **self.environ})
        application = Application(settings, qstash_client=self._open.enter_context(self.publisher()))
        self._open.callback(application.store.close)
        return application

    @cached_property
    def actions_url(self) -> str:
        return self._open.enter_context(serve(self.application.answer))

    def worker_url(self, lane: Lane) -> str:
        if lane not in self._lanes:
            settings = load_lane(lane, {**self.environ, "ROUTE_URL": lane_url(lane)})
            worker = Worker(settings, run=self.model)
            self._open.callback(worker.store.close)
            self._lanes[lane] = self._open.enter_context(serve(worker.answer))
        return self._lanes[lane]

    @cached_property
    def store(self) -> Store:
        store = open_store(load_lane(Lane.PAID_STREAM, {**self.environ, "ROUTE_URL": "http://x"}).redis)
        self._open.callback(store.close)
        return store

    @property
    def tasks(self) -> Tasks:
        return self.application.tasks

    # -- as a frontend -----------------------------------------------------------------------------------------------

    def ask(
        self, action: str, body: Any, *, user: str = "ada", key: str | None = None, **headers: str
    ) -> httpx.Response:
        """Call an action."""
        sent = {"Authorization": f"Bearer {user_token(user)}", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        return self.http.post(f"{self.actions_url}/actions/{action}", json=body, headers=sent)

    def get(self, path: str, *, user: str = "ada", **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {user_token(user)}", **headers}
        return self.http.get(self.actions_url + path, headers=sent)

    def cancel(self, task_id: str, *, user: str = "ada") -> httpx.Response:
        return self.http.post(
            f"{self.actions_url}/tasks/{task_id}/cancel",
            headers={"Authorization": f"Bearer {user_token(user)}"},
        )

    def balance(self, user: str = "ada") -> int:
        return int(self.get("/quota", user=user).json()["balance"])

    # -- as QStash ---------------------------------------------------------------------------------------------------

    def deliver(self, publish: Published, **headers: str) -> httpx.Response:
        """Deliver a message to its destination, signed for it."""
        lane, path = lane_and_path(publish.destination)
        sent = {
            "Upstash-Signature": sign(publish.destination, publish.body),
            "Content-Type": "application/json",
        }
        return self.http.post(self.worker_url(lane) + path, content=publish.body, headers={**sent, **headers})

    def call_back(self, name: str, body: bytes = b"{}", **headers: str) -> httpx.Response:
        """Call one of the callbacks, signed for its URL."""
        sent = {"Upstash-Signature": sign(f"{ACTIONS_URL}/callbacks/{name}", body)}
        return self.http.post(
            f"{self.actions_url}/callbacks/{name}", content=body, headers={**sent, **headers}
        )

    def report(
        self,
        name: str,
        publish: Published,
        *,
        status: int = 200,
        message_id: str = "msg_1",
        dead_letter: str | None = None,
    ) -> httpx.Response:
        """Report a delivery's answer to a callback, as QStash does."""
        body = callback_body(publish, status=status, message_id=message_id, dead_letter=dead_letter)
        return self.call_back(name, body)

    # -- ready-made ----------------------------------------------------------------------------------------------------

    def start(
        self, action: str = "upload-resume", body: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], Published]:
        """Have a task accepted; returns the answer and what was published."""
        response = self.ask(action, body or {"text": RESUME}, **kwargs)
        assert response.status_code == 202, response.text
        return response.json(), self.qstash.published[-1]

    def finish(self, publish: Published) -> None:
        answer = self.deliver(publish)
        assert (answer.status_code, answer.json()) == (200, {"status": "done"})

    def with_resume(self, user: str = "ada") -> None:
        """Give the user a summarised résumé."""
        self.finish(self.start(user=user)[1])

    def with_match(self, user: str = "ada") -> str:
        """Give the user a résumé and a matched service; returns the service's id."""
        self.with_resume(user)
        accepted, publish = self.start("create-service", {"jobText": JOB}, user=user)
        self.finish(publish)
        return str(accepted["serviceId"])

    # -- what is there -------------------------------------------------------------------------------------------------

    def record(self, task_id: str) -> dict[str, Any]:
        record = self.tasks.read(task_id)
        assert record is not None
        return record

    def events(self, task_id: str) -> list[dict[str, Any]]:
        """Return a task's events, oldest first."""
        record = self.record(task_id)
        key = keys.events(record["userId"], record["serviceId"], task_id)
        return [json.loads(fields[1]) for _, fields in self.store.command("XRANGE", key, "-", "+")]

    def event_types(self, task_id: str) -> list[str]:
        return [event["type"] for event in self.events(task_id)]

    def text(self, task_id: str) -> str:
        """Return the text that a reader of the stream has at the end."""
        text = ""
        for event in self.events(task_id):
            if event["type"] == "start":
                text = ""
            if event["type"] == "token_batch":
                text += event["text"]
        return text

    def slot_holders(self) -> int:
        return sum(
            int(self.store.command("ZCARD", key)) for key in self.store.command("KEYS", "lock:model:*")
        )

    def places(self) -> int:
        return sum(int(self.store.command("ZCARD", keys.queue(lane))) for lane in Lane)

    def dump(self) -> dict[str, Any]:
        """Return all that Redis holds, but for the counts of requests and refusals."""
        readers: Mapping[str, Callable[[str], Any]] = {
            "string": lambda key: self.store.command("GET", key),
            "hash": lambda key: sorted(pairs(self.store.command("HGETALL", key))),
            "list": lambda key: self.store.command("LRANGE", key, 0, -1),
            "set": lambda key: sorted(self.store.command("SMEMBERS", key)),
            "zset": lambda key: self.store.command("ZRANGE", key, 0, -1, "WITHSCORES"),
            "stream": lambda key: self.store.command("XRANGE", key, "-", "+"),
        }
        return {
            key: readers[self.store.command("TYPE", key)](key)
            for key in sorted(self.store.command("KEYS", "*"))
            if not key.startswith("rate:") and key != keys.TALLIES
        }

    # -- hands that move time --------------------------------------------------------------------------------------------

    def make_overdue(self, task_id: str) -> None:
        self.store.command("ZADD", keys.OPEN_TASKS, 1, task_id)

    def lapse_lease(self, task_id: str) -> None:
        """Let the lease of a running attempt end, as when its worker was killed a while ago."""
        record = self.record(task_id)
        step = json.loads(record["steps"])[int(record["step"])]
        seconds, micros = self.store.command("TIME")
        lapsed_ms = int(seconds) * 1000 + int(micros) // 1000 - 1
        self.store.command(
            "ZADD", f"lock:model:{step['modelId']}:{record['tier']}", lapsed_ms, record["holder"]
        )

    def claim(self, publish: Published) -> Any:
        """Claim a message's step as a worker that then says nothing more."""
        message = publish.message
        at = Step.from_record({**message, "maxWaitMs": 0})
        ref = TaskRef(message["taskId"], message["serviceId"], message["userId"])
        return self.tasks.claim(ref, step=message["step"], at=at, tier=message["tier"], nonce="silent")


def pairs(flat: Any) -> Sequence[tuple[str, str]]:
    return list(flat.items()) if isinstance(flat, dict) else list(zip(flat[::2], flat[1::2], strict=True))


def lane_and_path(destination: str) -> tuple[Lane, str]:
    for lane in Lane:
        if destination.startswith(lane_url(lane) + "/"):
            return lane, destination.removeprefix(lane_url(lane))
    raise AssertionError(f"nobody serves {destination}")


def changed(publish: Published, **fields: Any) -> Published:
    """Return a message with some of its fields changed."""
    return replace(publish, body=json.dumps({**publish.message, **fields}).encode())


def callback_body(
    publish: Published, *, status: int = 200, message_id: str = "msg_1", dead_letter: str | None = None
) -> bytes:
    return json.dumps(
        ({"dlqId": dead_letter} if dead_letter else {})
        | {
            "status": status,
            "header": {},
            "body": base64.b64encode(b"{}").decode(),
            "retried": 0,
            "maxRetries": 3,
            "sourceMessageId": message_id,
            "url": publish.destination,
            "method": "POST",
            "sourceHeader": {},
            "sourceBody": base64.b64encode(publish.body).decode(),
            "createdAt": 1,
        }
    ).encode()


def data_url(data: bytes = PNG, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
