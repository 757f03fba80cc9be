"""A frontend's view of a running stack, over HTTP alone: a signed-in user, and a browser reading a stream."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from PIL import Image, ImageDraw

from devstack.stack import Stack

T = TypeVar("T")
TLS = httpx.create_ssl_context()
"""Made once: reading the certificates takes longer than most requests here."""
RESUME = """Mei Lin
mei.lin@example.com · +65 8123 4567
Senior backend engineer with 8 years in payments.
Experience
Senior Engineer, Northwind Pay, 2021 to 2026: led the ledger rewrite, Python, PostgreSQL, Redis, Kafka.
Engineer, Contoso Bank, 2018 to 2021: built the settlement service, cut its run time by 40 %.
Education
BSc Computer Science, National University of Singapore, 2018
Skills: Python, Go, PostgreSQL, Redis, Kafka, Docker
"""
JOB = """Senior Platform Engineer at Fabrikam, Singapore.
You will design and run our event platform. You have 5 years with Python and Redis, know Kafka, mentor others.
Nice to have: Go, Terraform. Bachelor's degree in computer science.
"""


@dataclass
class Reader:
    """A browser's EventSource on one task: reads in a thread, and keeps what it saw."""

    url: str
    last_event_id: str | None = None
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        with httpx.stream("GET", self.url, headers=headers, timeout=60, verify=TLS) as response:
            response.raise_for_status()
            event_id = ""
            for line in response.iter_lines():
                if line.startswith("id:"):
                    event_id = line[3:].strip()
                elif line.startswith("data:"):
                    self.events.append((event_id, json.loads(line[5:])))

    def wait(self, seconds: float = 45) -> Reader:
        """Wait for the bridge to end the connection, as it does after the terminal event."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the stream did not end: {self.types[-5:]}"
        return self

    def wait_for(self, event_type: str) -> dict[str, Any]:
        return until(
            lambda: next((e for e in self.all if e["type"] == event_type), None), f"event {event_type}"
        )

    @property
    def all(self) -> list[dict[str, Any]]:
        return [event for _, event in self.events]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.all]

    @property
    def text(self) -> str:
        return text_of(self.all)


def text_of(events: list[dict[str, Any]]) -> str:
    """What a page shows after these events: a new attempt of a step starts its text anew."""
    text = ""
    for event in events:
        if event["type"] == "start":
            text = ""
        elif event["type"] == "token_batch":
            assert event["offset"] == len(text), "text lost or doubled"
            text += event["text"]
        elif event["type"] == "resync":
            text = event["text"]
    return text


@dataclass
class Frontend:
    """One signed-in user of the product."""

    stack: Stack
    user: str

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return self._call("POST", path, body, headers)

    def get(self, path: str) -> httpx.Response:
        return self._call("GET", path, None, {})

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        url = self.stack.url("actions") + path
        sent = self.stack.authorization(self.user) | {k.replace("_", "-"): v for k, v in headers.items()}
        return httpx.request(method, url, json=body, headers=sent, timeout=30, verify=TLS)

    def act(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self.post(f"/actions/{action}", body)
        assert response.status_code == 202, response.text
        accepted: dict[str, Any] = response.json()
        return accepted

    def status(self, accepted: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"/tasks/{accepted['taskId']}").json()
        return answer

    def outcome(self, accepted: dict[str, Any], seconds: float = 45) -> dict[str, Any]:
        """Poll until a task has ended, and return its status."""
        return until(
            lambda: s if (s := self.status(accepted))["state"] in {"done", "failed", "cancelled"} else None,
            f"the end of {accepted['taskId']}",
            seconds,
        )

    def with_resume(self) -> Frontend:
        """Upload a résumé and wait for its summary: what a service needs first."""
        assert self.outcome(self.act("upload-resume", {"text": RESUME, "locale": "en"}))["state"] == "done"
        return self

    def balance(self) -> int:
        quota = self.get("/quota").json()
        assert sum(line["delta"] for line in quota["ledger"]) == (quota["balance"] if quota["ledger"] else 0)
        return int(quota["balance"])


def until(check: Callable[[], T | None], what: str, seconds: float = 30) -> T:
    """Poll until `check` returns something, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := check()) is not None:
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def advertisement(format_name: str = "PNG") -> str:
    """Return a picture of the advertisement as a data URL."""
    image = Image.new("RGB", (640, 320), "white")
    ImageDraw.Draw(image).multiline_text((20, 20), JOB, fill="black")
    data = io.BytesIO()
    image.save(data, format_name)
    return f"data:image/{format_name.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def assert_at_rest(stack: Stack) -> None:
    """Every queue, slot and pending set is empty."""
    until(
        lambda: True if stack.gauges().is_empty else None, f"all counters at zero: {stack.gauges().to_json()}"
    )
