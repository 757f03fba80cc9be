"""What is logged: every thing that happens and is worth a line, with its level, its sentence and its facts.

A line's `event` is a member's name in lower case. That name and the facts' names are what alerts, searches
and dashboards are built on: `docs/observability.md` lists them, and a test holds the two together. A sentence
is constant, so that lines can be grouped by it; whatever varies is a fact. What somebody may have to act on
says how in its hint.
"""

from __future__ import annotations

from enum import Enum
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING

BOUND = ("function", "action", "task", "lane", "step", "attempt", "trace", "span", "request_id")
"""Facts that a line has from where it is said, when they are known there: see `shared.logs.bind`."""
ERROR_FACT = "error"
"""What a line about an error has: its code, or its type; its text is its `reason`, where that is ours."""


class LogEvent(Enum):
    """One thing that happens: level, sentence, the facts of its own, and what to do next."""

    # -- any function ----------------------------------------------------------------------------------------
    FUNCTION_STARTED = (
        INFO,
        "the function is configured and begins to listen",
        "env store log_level lease_seconds worker_timeout_seconds task_retries",
    )
    WARM_UP_FAILED = (
        ERROR,
        "the worker could not be made warm",
        "",
        "the first request tries again: if that fails too, the bundle is broken; roll back",
    )
    UNCAUGHT = (
        CRITICAL,
        "something ended with an error that nobody caught",
        "",
        "a defect: keep the stack trace; the task it belonged to is retried or swept",
    )
    SIGNATURE_REFUSED = (
        WARNING,
        "a delivery was refused: its signature is not good",
        "path",
        "if QStash sent it: compare the signing keys (deploy.py verify) and this function's public URL",
    )
    MESSAGE_REFUSED = (
        WARNING,
        "a signed message was refused for good",
        "",
        "its sender is of another release, or its record is gone; look at QStash's dead-letter queue",
    )
    REQUEST_UNAVAILABLE = (
        WARNING,
        "a request was refused: something that it needs is away",
        "status retry_after_seconds",
        "see `reason` for what is away: Redis, the file store, the issuer's keys or this server's room",
    )
    REQUEST_FAILED = (
        ERROR,
        "a request failed",
        "method path",
        "a defect: keep the stack trace; the caller was told to try again",
    )

    # -- actions ---------------------------------------------------------------------------------------------
    TASK_ADMITTED = (
        INFO,
        "a task has been admitted and handed to the queue",
        "tier steps admit_ms publish_ms",
    )
    TASK_REPEATED = (INFO, "a repeated request got the task of the first", "")
    ADMISSION_REFUSED = (INFO, "a task was not admitted", "status retry_after_seconds")
    REQUEST_REFUSED = (DEBUG, "a request was refused", "status retry_after_seconds")
    TASK_CANCELLED = (INFO, "a user cancelled a task", "state")
    USER_DELETED = (INFO, "a user's data have been deleted", "tasks")
    FILE_READ = (INFO, "an uploaded file has been read", "kind size_bytes outcome exit_status run_ms cpu_ms")
    STEP_PUBLISHED = (INFO, "a step has been handed to the queue", "n delay_ms publish_ms")
    PUBLISH_TRY_FAILED = (
        WARNING,
        "a publish was not confirmed",
        "n delay_ms tries publish_ms",
        "QStash's answer or its absence is the error; 4xx: its token or a URL is wrong, else its status page",
    )
    PUBLISH_FAILED = (
        ERROR,
        "a task could not be handed to the queue and has ended, refunded",
        "",
        "look at publish_try_failed just before; its user was told to come back",
    )
    PUBLISH_UNCONFIRMED = (
        WARNING,
        "a publish could not be noted: Redis went away after it",
        "",
        "nothing: the sweep decides by what it finds",
    )
    DEAD_LETTER_KEPT = (
        WARNING,
        "a dead letter of no use could not be deleted",
        "",
        "nothing: QStash calls again, and it may be deleted by hand",
    )
    CALLBACK_DECIDED = (INFO, "a callback has been answered", "callback decision delivery_status")
    TASK_SWEPT = (
        WARNING,
        "a task was overdue and has been ended, refunded",
        "outcome",
        "many of them: a lane is stopped or too slow, or QStash's callbacks do not arrive",
    )
    TOUCH_UNPUBLISHED = (
        WARNING,
        "a task that nobody had published could not be published now either",
        "",
        "nothing while QStash is away: the sweep tries again",
    )
    SWEPT = (INFO, "overdue tasks have been looked after", "ended published images sweep_ms")
    ISSUER_KEYS_AWAY = (
        WARNING,
        "the keys of the users' issuer could not be fetched",
        "",
        "open AUTH_JWKS_URL from here; users with new keys are refused until it answers",
    )
    CONTROL_CHANGED = (
        INFO,
        "an operator changed a limit at run time",
        "control target value former by until_ms",
    )
    OPERATOR_ACTED = (INFO, "an operator did something", "act by target")
    OPERATOR_REFUSED = (
        WARNING,
        "somebody without a valid operator's token was refused",
        "path",
        "if it was no mistake of yours, replace OPS_TOKEN",
    )

    DEAD_LETTERS_AWAY = (
        WARNING,
        "QStash's dead-letter queue could not be asked",
        "",
        "try again; if QStash is well (its status page), its token is another",
    )
    COLLECTOR_AWAY = (
        WARNING,
        "the collector takes no telemetry: it is dropped, and tried again later",
        "signal",
        "look at OTEL_EXPORTER_OTLP_ENDPOINT and the collector; tasks are not concerned",
    )
    COLLECTOR_BACK = (INFO, "the collector takes telemetry again", "signal")
    TELEMETRY_FAILED = (
        WARNING,
        "telemetry could not be sent",
        "",
        "a defect of the exporter; tasks are not concerned",
    )

    # -- a lane ----------------------------------------------------------------------------------------------
    DELIVERY_RECEIVED = (DEBUG, "a delivery came", "template")
    STEP_CLAIMED = (INFO, "an attempt begins", "template model waited_ms claim_ms")
    CLAIM_REFUSED = (INFO, "a delivery got no attempt", "decision retry_after_seconds")
    FIRST_TOKEN = (INFO, "the model's first words are there for their reader", "stored_ms")
    STEP_FINISHED = (
        INFO,
        "an attempt finished its step",
        "decision ttft_ms run_ms finish_ms tokens_in tokens_out",
    )
    ATTEMPT_SUPERSEDED = (
        INFO,
        "an attempt stopped: its task ended, or another attempt took over",
        "run_ms",
    )
    ATTEMPT_RELEASED = (
        WARNING,
        "an attempt failed and will be repeated",
        "decision retry_after_seconds run_ms",
        "once is nothing; often: `error` says whether the provider, Redis or this machine is at fault",
    )
    ATTEMPT_FAILED = (
        WARNING,
        "an attempt failed for good, and its task has ended, refunded",
        "decision run_ms",
        "`error` says why no repetition would help; often the same: stop the lane, see docs/runbook.md",
    )
    ATTEMPT_BROKE = (
        ERROR,
        "an attempt met an error that the lane does not know",
        "decision retry_after_seconds run_ms",
        "a defect: keep the stack trace; the attempt is repeated while it may",
    )
    DELIVERY_FAILED = (
        ERROR,
        "a delivery met an error that the lane does not know",
        "",
        "a defect: keep the stack trace; QStash delivers again",
    )
    LEASE_NOT_RENEWED = (
        WARNING,
        "an attempt's lease could not be renewed",
        "",
        "Redis is away or slow; the attempt goes on until its lease has lapsed",
    )
    WRITER_FAILED = (
        ERROR,
        "an attempt's events could not be written",
        "",
        "a defect: keep the stack trace; the attempt is repeated while it may",
    )
    JSON_MODE_REFUSED = (
        WARNING,
        "the provider refuses the response_format",
        "model",
        "set the provider's _JSON_MODE to none, or to what it takes, to spare a request each time",
    )
    ANSWER_REPAIRED = (
        WARNING,
        "a model's answer was not usable and is asked for once more",
        "template model finish_reason",
        "now and then is normal; often: the model, its JSON mode or the prompt does not fit",
    )

    # -- events ----------------------------------------------------------------------------------------------
    CONNECTION_OPENED = (DEBUG, "a reader connected", "connections")
    CONNECTION_CLOSED = (DEBUG, "a reader's connection closed", "connections open_ms")
    READER_CUT_OFF = (DEBUG, "a reader that did not read was cut off", "behind")
    READER_SENT_BACK = (
        WARNING,
        "a reader was sent back to resume",
        "",
        "nothing, unless many: Redis is away, or streams are trimmed before they are read",
    )
    CONNECTION_FAILED = (
        ERROR,
        "a connection failed",
        "",
        "a defect: keep the stack trace; the reader resumes by itself",
    )
    TASK_STALLED = (
        WARNING,
        "a running task has been silent since its lease lapsed",
        "silent_ms",
        "its worker died, and the next delivery or the sweep takes over; many: look at the lane's memory",
    )
    ENTRY_UNREADABLE = (
        WARNING,
        "an entry of a stream is none of ours",
        "entry",
        "somebody else writes into it, or a newer release does: deploy `events` first, then the rest",
    )
    READING_INTERRUPTED = (
        WARNING,
        "a shared reader lost Redis and goes on",
        "delay_ms",
        "nothing if it passes; readers lose nothing. Else look at Redis",
    )
    READING_FAILED = (ERROR, "a shared reader failed and goes on", "", "a defect: keep the stack trace")
    SILENCE_UNWATCHED = (
        WARNING,
        "silent tasks cannot be looked after: Redis is away",
        "",
        "nothing if it passes; else look at Redis",
    )
    SILENCE_FAILED = (
        ERROR,
        "silent tasks could not be looked after",
        "",
        "a defect: keep the stack trace",
    )

    def __init__(self, level: int, says: str, facts: str, hint: str = "") -> None:
        self.level = level
        self.says = says
        self.facts = tuple(facts.split())
        self.hint = hint

    @property
    def event(self) -> str:
        """The name that a line carries."""
        return self.name.lower()


FACTS = (
    *BOUND,
    ERROR_FACT,
    *dict.fromkeys(fact for event in LogEvent for fact in event.facts),
)
"""All facts that a line may have, in the order in which it has them."""
