"""A message on its way, and how management calls show it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from devstack.qstash.instructions import Instructions

Json = dict[str, Any]


@dataclass(slots=True)
class Message:
    id: str
    url: str
    """The destination, byte for byte as published: it is what a signature's `sub` names."""
    body: bytes
    instructions: Instructions
    created_at_ms: int
    not_before_ms: int = 0
    caller_ip: str = "127.0.0.1"
    queue: str | None = None
    schedule_id: str | None = None
    retried: int = 0
    delivered_twice: bool = False
    """A fault made of this message: each of its attempts is delivered twice."""

    @property
    def spoilable(self) -> bool:
        """False for a schedule's messages: whichever fires must not use up a fault meant for others."""
        return self.schedule_id is None

    def as_json(self) -> Json:
        shown = {
            "messageId": self.id,
            "url": self.url,
            "notBefore": self.not_before_ms,
            "createdAt": self.created_at_ms,
            "callerIP": self.caller_ip,
            "queueName": self.queue,
            "scheduleId": self.schedule_id,
        }
        present = {name: value for name, value in shown.items() if value is not None}
        return self.instructions.as_json() | present | text_or_base64("body", self.body)

    def content_key(self) -> str:
        """Return what content-based deduplication goes by: destination, body, type and forwarded headers."""
        parts = [self.url, *(f"{name}:{value}" for name, value in sorted(self.instructions.forward.items()))]
        return hashlib.sha256("\n".join(parts).encode() + b"\n\n" + self.body).hexdigest()


def text_or_base64(name: str, body: bytes) -> Json:
    """Return `body` under `name`, or under `{name}Base64` when it is not text."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(body).decode()}
