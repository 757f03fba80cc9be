"""A frontend's side of `actions` and `events`: start a task, follow its stream as EventSource would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from devstack.demo.material import SampleFile

_TERMINAL = frozenset({"done", "error", "cancelled"})
_SILENCE_SECONDS = 40.0
"""Longer than two heartbeats: a connection that is quieter is dead, and opened again."""


class Refusal(Exception):
    """The request was refused."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('error')}: {body.get('message')}")
        self.status = status
        self.error = str(body.get("error"))
        self.retry_after_seconds = body.get("retryAfter")
        self.queue_id = body.get("queueId")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a task's stream."""

    id: str
    type: str
    data: Mapping[str, Any]


class Client:
    """One signed-in user of `actions`."""

    def __init__(self, actions_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=actions_url, headers=headers, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def act(
        self,
        action: str,
        body: Mapping[str, str],
        *,
        files: Mapping[str, SampleFile] | None = None,
        idempotency_key: str,
    ) -> dict[str, Any]:
        """Start an action and return the accepted task.

        Args:
            action: its name, as in its address.
            body: its fields: JSON, or a form's when there are files.
            files: the form's files by their fields' names.
            idempotency_key: sent again with the same request, it leads to the same task.

        Raises:
            Refusal: it was not accepted.
        """
        url, headers = f"/actions/{action}", {"Idempotency-Key": idempotency_key}
        if files:
            form = {field: (file.name, file.content, file.content_type) for field, file in files.items()}
            return self._json(self._http.post(url, data=body, files=form, headers=headers))
        return self._json(self._http.post(url, json=body, headers=headers))

    def get(self, path: str) -> dict[str, Any]:
        """Read one of the GET addresses.

        Raises:
            Refusal: it was refused.
        """
        return self._json(self._http.get(path))

    @staticmethod
    def _json(response: httpx.Response) -> dict[str, Any]:
        body: dict[str, Any] = response.json()
        if response.is_error:
            raise Refusal(response.status_code, body)
        return body


def follow(
    stream_url: str, *, give_up_after_seconds: float, on_resumed: Callable[[], None] = lambda: None
) -> Iterator[Frame]:
    """Yield a task's events until its terminal one, resuming whenever the connection ends.

    Args:
        stream_url: where the task's events are.
        give_up_after_seconds: for all of it.
        on_resumed: told whenever a connection that was lost is there again, before its first event.

    Raises:
        TimeoutError: no terminal event came in time.
        httpx.HTTPStatusError: the bridge refuses the stream for good.
    """
    deadline = time.monotonic() + give_up_after_seconds
    last_id: str | None = None
    timeout = httpx.Timeout(10, read=_SILENCE_SECONDS)
    with httpx.Client(timeout=timeout) as http:
        while time.monotonic() < deadline:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with http.stream("GET", stream_url, headers=headers) as response:
                    _raise_if_final(response)
                    if last_id and response.is_success:
                        on_resumed()
                    for frame in parse_frames(response.iter_lines()):
                        last_id = frame.id or last_id
                        yield frame
                        if frame.type in _TERMINAL:
                            return
            except httpx.TransportError:
                pass  # as a browser does: again, from where we were
            time.sleep(0.2)
    raise TimeoutError(f"no terminal event after {give_up_after_seconds:g} s")


def parse_frames(lines: Iterator[str]) -> Iterator[Frame]:
    """Yield the frames of an SSE body, given line by line; comments are heartbeats and are dropped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Frame(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


def _raise_if_final(response: httpx.Response) -> None:
    """A 503 says to come back; any other refusal will not change."""
    if response.is_client_error:
        response.read()
        response.raise_for_status()
