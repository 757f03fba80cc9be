"""The spans there are: one trace for one task, from the caller's request to the last event that is read.

POST /actions/… ─▶ admit
      └─▶ publish ─▶ process ─▶ claim
             │          └─▶ attempt ─▶ chat, write events, finish     a later attempt links to the one before
             └─▶ POST /callbacks/step ─▶ publish ─▶ process …         the next step
GET /events/… is a child of POST /actions/…
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.telemetry.attributes import Attribute as A  # noqa: N817 - on every line


class Kind(StrEnum):
    """What OpenTelemetry calls a span's kind."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class SpanSpec:
    """One kind of span; `{…}` in its name is what it is about."""

    name: str
    kind: Kind
    functions: str
    """Who makes it: `actions`, `lanes` or `events`."""
    meaning: str
    attributes: frozenset[A]


_HTTP = frozenset({A.METHOD, A.ROUTE, A.STATUS, A.SCHEME, A.ERROR})
_MESSAGE = frozenset({A.MESSAGING, A.OPERATION, A.OPERATION_TYPE, A.DESTINATION, A.MESSAGE, A.TASK, A.STEP})
_END = frozenset({A.OUTCOME, A.ERROR})

REQUEST = SpanSpec(
    "{method} {route}",
    Kind.SERVER,
    "actions",
    "An action, a callback of QStash's, a sweep: what begins or moves a task. It is begun once it is known "
    "who asks. Other requests have no span: they are counted.",
    _HTTP | {A.TASK, A.STEP, A.ACTION, A.OUTCOME, A.STORE_COMMANDS},
)
ADMIT = SpanSpec(
    "admit",
    Kind.INTERNAL,
    "actions",
    "The one script that admits a task or refuses it.",
    _END | {A.TASK, A.ACTION, A.TIER, A.LANE},
)
PUBLISH = SpanSpec(
    "publish {lane}",
    Kind.PRODUCER,
    "actions",
    "A step is handed to QStash, a second try included. The message carries this span.",
    _MESSAGE | {A.STATUS, A.ERROR, A.SERVER, A.PORT},
)
PROCESS = SpanSpec(
    "process {lane}",
    Kind.CONSUMER,
    "lanes",
    "A delivery, from its first byte to its answer. It is begun once it is known to be QStash's and ours.",
    _MESSAGE | _END | {A.STATUS, A.LANE, A.TIER, A.TEMPLATE, A.AI_MODEL, A.STORE_COMMANDS},
)
CLAIM = SpanSpec(
    "claim",
    Kind.INTERNAL,
    "lanes",
    "The one script that makes an attempt of a delivery, or refuses it.",
    _END | {A.ATTEMPT, A.QUEUE_WAIT},
)
ATTEMPT = SpanSpec(
    "attempt",
    Kind.INTERNAL,
    "lanes",
    "All that one attempt does. From the second on it links to the one before, also to one whose worker was "
    "killed and whose span nobody has.",
    _END | {A.ATTEMPT, A.FIRST_TOKEN},
)
CHAT = SpanSpec(
    "chat {model}",
    Kind.CLIENT,
    "lanes",
    "One request to a model, to the end of its answer. A repair is a second one.",
    frozenset(
        {
            *(A.AI_OPERATION, A.AI_PROVIDER, A.AI_MODEL, A.AI_MAX_TOKENS, A.AI_TEMPERATURE, A.AI_STREAM),
            *(A.AI_OUTPUT, A.AI_FINISH, A.AI_INPUT_TOKENS, A.AI_OUTPUT_TOKENS, A.AI_CACHED_TOKENS),
            *(A.FIRST_TOKEN, A.SERVER, A.PORT, A.ERROR),
        }
    ),
)
WRITE = SpanSpec(
    "write events",
    Kind.INTERNAL,
    "lanes",
    "All events of an attempt, from the first write to the last: one span, not one for each.",
    frozenset({A.WRITES, A.TOKENS, A.BYTES, A.LONGEST_WRITE}),
)
FINISH = SpanSpec("finish", Kind.INTERNAL, "lanes", "The result is stored, and the step is done.", _END)
RELEASE = SpanSpec("release", Kind.INTERNAL, "lanes", "The attempt is given back, to be repeated.", _END)
FAIL = SpanSpec("fail", Kind.INTERNAL, "lanes", "The task is ended by an error that no attempt mends.", _END)
CONNECTION = SpanSpec(
    "GET /events/{serviceId}/{taskId}",
    Kind.SERVER,
    "events",
    "A reader's connection, from its request to its end. It is begun once its token is good.",
    _HTTP | {A.TASK, A.EVENTS, A.BYTES, A.RESUMED},
)

SPANS = (REQUEST, ADMIT, PUBLISH, PROCESS, CLAIM, ATTEMPT, CHAT, WRITE, FINISH, RELEASE, FAIL, CONNECTION)
"""All of them, in the order of a task's way."""
