"""What travels over QStash: the ids of one step of one task, never a user's text (D38).

The producer builds it, QStash signs and carries it byte for byte, the lane's guard parses it strictly.

A *probe* takes a message's place when somebody asks whether a function accepts deliveries: whoever deploys
signs it as QStash would. It is answered once path and signature are good and Redis has answered, and leaves
no trace: it names no task, claims no slot and writes nothing, so that it may come at any time, and twice.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from shared.errors import MessageError, safe_field_name
from shared.routing import Lane, Model, Template, Tier

VERSION: Literal[1] = 1
MAX_MESSAGE_BYTES = 16_384
MAX_PROBE_BYTES = 256
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(value: object) -> str | None:
    """Drop what has not W3C's shape: it is a stranger's header, and a trace is no reason to lose a task."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Ids that we mint ourselves (task, service)."""

UserId = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A user's id: the `sub` of a token that somebody else issued."""


class TaskMessage(BaseModel):
    """One step of one task, addressed to the lane that its record names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    v: Literal[1] = VERSION
    task_id: Id
    service_id: Id
    user_id: UserId
    template_id: Template
    step: Annotated[int, Field(ge=0, le=9)]
    queue_id: Lane
    model_id: Model
    tier: Tier
    counter_key: Annotated[str, StringConstraints(max_length=128)]
    """The slot key of this step's model and tier, `lock:model:{modelId}:{tier}`."""
    locale: Literal["zh", "en"]
    retries: Annotated[int, Field(ge=0, le=100)]
    enqueued_at: Annotated[int, Field(ge=0)]
    """When this step was handed to the queue; ms since the epoch."""
    traceparent: Annotated[str | None, BeforeValidator(trace_of)] = None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def parse_message(body: bytes) -> TaskMessage:
    """Parse a delivery's body.

    Raises:
        MessageError: it is not a message of this version; the text names the fields, never their values.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the message has more than {MAX_MESSAGE_BYTES} bytes")
    try:
        return TaskMessage.model_validate_json(body, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        fields = sorted({safe_field_name(".".join(map(str, e["loc"]))) for e in error.errors()})
        raise MessageError(f"the message is not valid: {', '.join(fields)}") from None


class Probe(BaseModel):
    """A delivery that carries no task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1]
    probe: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
    """The asker's nonce: an answer that repeats it was made for this very question."""

    def answer(self, function: str) -> dict[str, str]:
        """Return what `function` says once it has found everything in its place."""
        return {"status": "probe", "function": function, "nonce": self.probe}


def parse_probe(body: bytes) -> Probe | None:
    """Return the probe that a body is; None for anything else, a malformed probe too."""
    if len(body) > MAX_PROBE_BYTES:
        return None
    try:
        return Probe.model_validate_json(body, strict=True)
    except ValidationError:
        return None
