"""The instruments there are: what is counted and measured, in which unit, by what it is told apart.

A process tells what it saw itself. What Redis knows of all of them together (depths, ages, totals that no
killed process takes with it) is `GET /metrics` of `actions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.telemetry.attributes import Attribute as A  # noqa: N817 - on every line


class Measure(StrEnum):
    """What OpenTelemetry calls an instrument's kind."""

    COUNTER = "counter"
    UP_DOWN = "up-down counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; its unit is UCUM's."""

    name: str
    measure: Measure
    unit: str
    functions: str
    meaning: str
    attributes: tuple[A, ...]
    boundaries: tuple[float, ...] = ()
    """Of a histogram's buckets."""


_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The conventions' own for HTTP."""
_MODEL_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The conventions' own for generative AI."""
_MODEL_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
_ATTEMPT_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300)
"""Up to WORKER_TIMEOUT_SECONDS."""
_WAIT_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240, 480, 600)
"""Up to the waiting budgets."""
_FIRST_TOKEN_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60)
_LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RATE = (5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 400)
_COMMANDS = (1, 2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 200, 500)
_MODEL = (A.AI_OPERATION, A.AI_PROVIDER, A.AI_MODEL)

REQUEST_DURATION = Instrument(
    "http.server.request.duration",
    Measure.HISTOGRAM,
    "s",
    "actions, lanes, events",
    "Requests, reads too, by route and status; a stream of events is none of them.",
    (A.METHOD, A.ROUTE, A.STATUS, A.SCHEME),
    _REQUEST_SECONDS,
)
ADMISSIONS = Instrument(
    "sluice.admissions",
    Measure.COUNTER,
    "{request}",
    "actions",
    "Requests for a task: `accepted`, `replay`, or the reason of a refusal.",
    (A.ACTION, A.OUTCOME, A.TIER, A.LANE),
)
SENT = Instrument(
    "messaging.client.sent.messages",
    Measure.COUNTER,
    "{message}",
    "actions",
    "Steps handed to QStash, and those that it did not take, by error.",
    (A.MESSAGING, A.OPERATION, A.DESTINATION, A.ERROR),
)
SEND_DURATION = Instrument(
    "messaging.client.operation.duration",
    Measure.HISTOGRAM,
    "s",
    "actions",
    "How long QStash took, a second try included.",
    (A.MESSAGING, A.OPERATION, A.DESTINATION, A.ERROR),
    _REQUEST_SECONDS,
)
CALLBACKS = Instrument(
    "sluice.callbacks",
    Measure.COUNTER,
    "{callback}",
    "actions",
    "Callbacks of QStash's, sweeps among them, by route and what was decided.",
    (A.ROUTE, A.OUTCOME),
)
SWEPT = Instrument(
    "sluice.sweep.tasks",
    Measure.COUNTER,
    "{task}",
    "actions",
    "Overdue tasks that sweeps and touches looked after, by what became of them.",
    (A.OUTCOME,),
)
CLAIM_REFUSALS = Instrument(
    "sluice.claim.refusals",
    Measure.COUNTER,
    "{delivery}",
    "lanes",
    "Deliveries that got no attempt, by reason.",
    (A.LANE, A.REASON),
)
QUEUE_WAIT = Instrument(
    "sluice.queue.wait",
    Measure.HISTOGRAM,
    "s",
    "lanes",
    "How long a claimed step had waited since it was handed over, or given back.",
    (A.LANE, A.TIER),
    _WAIT_SECONDS,
)
ATTEMPTS = Instrument(
    "sluice.attempts",
    Measure.COUNTER,
    "{attempt}",
    "lanes",
    "Attempts by how they ended.",
    (A.LANE, A.OUTCOME, A.ERROR),
)
ATTEMPT_DURATION = Instrument(
    "sluice.attempt.duration",
    Measure.HISTOGRAM,
    "s",
    "lanes",
    "How long attempts ran.",
    (A.LANE, A.OUTCOME),
    _ATTEMPT_SECONDS,
)
RUNNING = Instrument(
    "sluice.attempts.running",
    Measure.UP_DOWN,
    "{attempt}",
    "lanes",
    "Attempts that run now in this process: summed over all, the slots in use.",
    (A.LANE, A.AI_MODEL, A.TIER),
)
SLOTS = Instrument(
    "sluice.slots.limit",
    Measure.GAUGE,
    "{slot}",
    "lanes",
    "Slots that this function is configured with, for all processes together.",
    (A.AI_MODEL, A.TIER),
)
TAKEOVERS = Instrument(
    "sluice.takeovers",
    Measure.COUNTER,
    "{attempt}",
    "lanes",
    "Attempts that took over from one whose lease had lapsed.",
    (A.LANE,),
)
ENDED = Instrument(
    "sluice.tasks.ended",
    Measure.COUNTER,
    "{task}",
    "actions, lanes",
    "Tasks that this process ended, by state, error and tier.",
    (A.STATE, A.ERROR, A.TIER),
)
REFUNDS = Instrument(
    "sluice.refunds",
    Measure.COUNTER,
    "{task}",
    "actions, lanes",
    "Those of them that were paid for and are refunded.",
    (A.STATE, A.ERROR),
)
CHAT_DURATION = Instrument(
    "gen_ai.client.operation.duration",
    Measure.HISTOGRAM,
    "s",
    "lanes",
    "How long requests to models took.",
    (*_MODEL, A.ERROR),
    _MODEL_SECONDS,
)
TOKEN_USAGE = Instrument(
    "gen_ai.client.token.usage",
    Measure.HISTOGRAM,
    "{token}",
    "lanes",
    "Tokens that requests to models used, where the provider said so.",
    (*_MODEL, A.AI_TOKEN_TYPE),
    _MODEL_TOKENS,
)
FIRST_TOKEN = Instrument(
    "sluice.time_to_first_token",
    Measure.HISTOGRAM,
    "s",
    "lanes",
    "From an attempt's begin to its first visible token.",
    (A.LANE, A.AI_MODEL),
    _FIRST_TOKEN_SECONDS,
)
OUTPUT_RATE = Instrument(
    "sluice.model.output_rate",
    Measure.HISTOGRAM,
    "{token}/s",
    "lanes",
    "Tokens a second of an answer, from its request to its end.",
    (A.AI_MODEL,),
    _RATE,
)
STORE_COMMANDS = Instrument(
    "sluice.store.commands",
    Measure.HISTOGRAM,
    "{command}",
    "actions, lanes",
    "Commands sent to Redis for one request or delivery; a script is one.",
    (A.ROUTE,),
    _COMMANDS,
)
CONNECTIONS = Instrument(
    "sluice.sse.connections",
    Measure.UP_DOWN,
    "{connection}",
    "events",
    "Readers connected to this process now.",
    (),
)
LAG = Instrument(
    "sluice.sse.lag",
    Measure.HISTOGRAM,
    "s",
    "events",
    "From an event's making in its worker to its being handed to a reader; one a second of each at most.",
    (),
    _LAG_SECONDS,
)

INSTRUMENTS = (
    *(REQUEST_DURATION, ADMISSIONS, SENT, SEND_DURATION, CALLBACKS, SWEPT),
    *(CLAIM_REFUSALS, QUEUE_WAIT, ATTEMPTS, ATTEMPT_DURATION, RUNNING, SLOTS, TAKEOVERS, ENDED, REFUNDS),
    *(CHAT_DURATION, TOKEN_USAGE, FIRST_TOKEN, OUTPUT_RATE, STORE_COMMANDS, CONNECTIONS, LAG),
)
"""All of them, in the order of a task's way."""
