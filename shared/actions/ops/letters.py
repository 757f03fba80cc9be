"""QStash's dead-letter queue: messages that it gave up on, and that nobody has looked at yet.

What a letter is about is read from the message that it carries: a step of a task, a callback of ours, or
something else. Only ids and codes are taken out of it; a lane's answer may hold more.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from shared.errors import BrokerUnavailable, InvalidRequest, MessageError, NotFound
from shared.logs import LogEvent, event
from shared.messages import TaskMessage, parse_message
from shared.settings import QStashSettings

log = logging.getLogger(__name__)
TIMEOUT = httpx.Timeout(8.0, connect=2.0)
PAGE = 50
MOST_PAGES = 10
"""How many pages are searched for one task's letters."""


class Kind(StrEnum):
    """What a letter is about."""

    TASK = "task"
    CALLBACK = "callback"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that QStash gave up on."""

    id: str
    kind: Kind
    path: str
    """The path of its destination; a host says nothing that the lane does not."""
    created_at_ms: int
    status: int
    """What the last delivery was answered; 0 when there was no answer."""
    code: str | None
    """The error's code in that answer, when it was one of ours."""
    message: TaskMessage | None = None
    """The task's step that it carries, or that a callback was about."""

    @property
    def task_id(self) -> str | None:
        return self.message.task_id if self.message else None


@dataclass(frozen=True, slots=True)
class Letters:
    """One page of the queue; `cursor` leads to the next, None after the last."""

    letters: tuple[DeadLetter, ...]
    cursor: str | None


class DeadLetterQueue:
    """The queue, by QStash's API. Thread-safe; the HTTP client is built on first use.

    Every method raises BrokerUnavailable when QStash did not answer as it should.
    """

    def __init__(self, settings: QStashSettings, client: httpx.Client | None = None) -> None:
        self._settings = settings
        self._client = client

    def page(self, cursor: str | None = None, count: int = PAGE) -> Letters:
        """Return some letters, in QStash's order."""
        query = {"count": str(count), **({"cursor": cursor} if cursor else {})}
        body = self._json(self._call("GET", "", params=query))
        letters = tuple(parse_letter(row) for row in body.get("messages") or ())
        return Letters(letters, str(body["cursor"]) if body.get("cursor") else None)

    def get(self, letter_id: str) -> DeadLetter:
        """Return one letter; raises NotFound when it is not there (any more)."""
        return parse_letter({"dlqId": letter_id, **self._json(self._call("GET", _path(letter_id)))})

    def of_task(self, task_id: str) -> Iterator[DeadLetter]:
        """Yield the letters about a task, among the first that the queue has."""
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = self.page(cursor)
            yield from (letter for letter in page.letters if letter.task_id == task_id)
            cursor = page.cursor
            if cursor is None:
                return

    def resend(self, letter: DeadLetter) -> None:
        """Have QStash deliver a letter's message again, and take it out of the queue.

        Raises:
            NotFound: somebody did before.
        """
        # Its own deduplication id was used lately: under it the new message might be taken for a double.
        headers = {"Upstash-Deduplication-Id": f"replay.{letter.id}"}
        self._call("POST", f"/retry{_path(letter.id)}", headers=headers)

    def delete(self, letter_id: str) -> None:
        """Take a letter out of the queue for good; raises NotFound when it is not there (any more)."""
        self._call("DELETE", _path(letter_id))

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT)
        authorized = {"Authorization": f"Bearer {self._settings.token}", **(headers or {})}
        try:
            answer = self._client.request(
                method, f"{self._settings.url}/v2/dlq{path}", params=params, headers=authorized
            )
        except httpx.HTTPError as error:
            event(log, LogEvent.DEAD_LETTERS_AWAY, error=type(error).__name__)
            raise BrokerUnavailable from None
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound("There is no such dead letter (any more): replayed, deleted, or let go by QStash.")
        if not answer.is_success:
            event(log, LogEvent.DEAD_LETTERS_AWAY, error=f"status_{answer.status_code}")
            raise BrokerUnavailable
        return answer

    @staticmethod
    def _json(answer: httpx.Response) -> Mapping[str, Any]:
        try:
            body = answer.json()
        except ValueError:
            raise BrokerUnavailable from None
        if not isinstance(body, dict):
            raise BrokerUnavailable
        return body


def _path(letter_id: str) -> str:
    """Return a letter's path; an empty id would mean all letters."""
    if not letter_id:
        raise InvalidRequest("must name a dead letter", field="id")
    return f"/{quote(letter_id, safe='')}"


def parse_letter(row: Mapping[str, Any]) -> DeadLetter:
    """Read what QStash says of a message; what it does not say is left open, never an error."""
    path, body = urlsplit(str(row.get("url") or "")).path, _bytes(row, "body")
    kind, message = _carried(path, body)
    return DeadLetter(
        id=str(row.get("dlqId") or ""),
        kind=kind,
        path=path,
        created_at_ms=int(row.get("createdAt") or 0),
        status=int(row.get("responseStatus") or 0),
        code=_code(_bytes(row, "responseBody")),
        message=message,
    )


def _carried(path: str, body: bytes) -> tuple[Kind, TaskMessage | None]:
    if path.rstrip("/").rpartition("/")[0].endswith("/callbacks"):
        return Kind.CALLBACK, _message(_source(body))
    message = _message(body)
    return (Kind.TASK if message else Kind.OTHER), message


def _message(body: bytes) -> TaskMessage | None:
    try:
        return parse_message(body)
    except MessageError:
        return None


def _source(body: bytes) -> bytes:
    """Return the message that a callback reports on."""
    try:
        return base64.b64decode(json.loads(body)["sourceBody"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return b""


def _bytes(row: Mapping[str, Any], name: str) -> bytes:
    if isinstance(text := row.get(name), str):
        return text.encode(errors="replace")
    try:
        return base64.b64decode(str(row.get(f"{name}Base64") or ""))
    except binascii.Error:
        return b""


def _code(body: bytes) -> str | None:
    """Return the code of an answer of ours; its message stays where it is."""
    try:
        code = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return code if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) <= 40 else None
