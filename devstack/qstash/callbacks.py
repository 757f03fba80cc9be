"""The message that tells a publisher how a delivery was answered.

A callback follows every attempt; a failure callback comes once, after the last retry or a 489, with the dead
letter's id. Both are messages of their own: signed for their own URL, retried, buried when nobody takes them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from devstack.qstash.delivery import Answer
from devstack.qstash.instructions import Instructions, header_lists, parse_instructions
from devstack.qstash.message import Json, Message


def callback_instructions(source: Message, headers: Mapping[str, str]) -> Instructions:
    """Return the callback's instructions; it inherits the original's retries."""
    inherited = {"content-type": "application/json", "upstash-retries": str(source.instructions.retries)}
    return parse_instructions(inherited | dict(headers))


def callback_body(source: Message, answer: Answer, dlq_id: str | None = None) -> bytes:
    """Return the JSON that QStash posts; with `dlq_id` it is a failure callback's."""
    report: Json = {
        "status": answer.status,
        "header": header_lists(answer.headers),
        "body": base64.b64encode(answer.body).decode(),
        "retried": source.retried,
        "maxRetries": source.instructions.retries,
        "sourceMessageId": source.id,
        "url": source.url,
        "method": source.instructions.method,
        "sourceHeader": header_lists(source.instructions.forward),
        "sourceBody": base64.b64encode(source.body).decode(),
        "notBefore": source.not_before_ms,
        "createdAt": source.created_at_ms,
        "scheduleId": source.schedule_id or "",
        "callerIP": source.caller_ip,
    }
    if dlq_id is not None:
        report["dlqId"] = dlq_id
    return json.dumps(report).encode()
