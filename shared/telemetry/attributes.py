"""The names of all that a span or a measurement may say beside its own name.

Where OpenTelemetry's semantic conventions have a name it is theirs, else it begins with `sluice.`. What is
not here is not said: no user's id, text or address, no token, no secret. `docs/observability.md` lists it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Attribute(StrEnum):
    """A name and what it means."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        """Make a member that is its name, and knows its meaning."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    # -- a task ----------------------------------------------------------------------------------------------
    TASK = ("sluice.task.id", "The task's id.")
    ACTION = ("sluice.action", "What the user asked for, such as `customize-resume`.")
    STEP = ("sluice.step", "The step of the task, from 0.")
    LANE = ("sluice.lane", "The queue, which is also the function that serves it.")
    TIER = ("sluice.tier", "`paid` or `free`.")
    TEMPLATE = ("sluice.template", "What is asked of the model, such as `job_match`.")
    ATTEMPT = ("sluice.attempt", "The attempt's number within its step, from 1.")
    OUTCOME = ("sluice.outcome", "What became of it: what the answer, or the transition in Redis, said.")
    REASON = ("sluice.reason", "Why something was refused.")
    STATE = ("sluice.state", "How a task ended: `done`, `failed` or `cancelled`.")

    # -- times and amounts that have no name of the conventions ----------------------------------------------
    QUEUE_WAIT = (
        "sluice.queue.wait",
        "Seconds from a step's being handed over, or given back, to its claim.",
    )
    FIRST_TOKEN = (
        "sluice.time_to_first_token",
        "Seconds from the attempt's begin to the first token that a user may see; thinking is none.",
    )
    STORE_COMMANDS = (
        "sluice.store.commands",
        "Commands sent to Redis for it; a script is one, what it does inside is not counted.",
    )
    WRITES = ("sluice.events.writes", "Events written to the task's stream, each one XADD.")
    TOKENS = ("sluice.events.tokens", "Tokens in them.")
    BYTES = ("sluice.events.bytes", "Bytes of them, as JSON in a stream and framed on a connection.")
    LONGEST_WRITE = ("sluice.events.longest_write", "Seconds that the slowest of them took.")
    EVENTS = ("sluice.sse.events", "Events that were sent.")
    RESUMED = ("sluice.sse.resumed", "Whether the reader came back after an event that it had.")

    # -- semantic conventions: HTTP --------------------------------------------------------------------------
    METHOD = ("http.request.method", "The request's method.")
    ROUTE = ("http.route", "The address with the names of ids in the place of ids.")
    STATUS = ("http.response.status_code", "The answer's status.")
    SCHEME = ("url.scheme", "`http` or `https`, as the function was called.")
    ERROR = ("error.type", "The public code of what went wrong, or the type of an exception; never its text.")
    SERVER = ("server.address", "The host that was called.")
    PORT = ("server.port", "Its port.")

    # -- semantic conventions: messaging ---------------------------------------------------------------------
    MESSAGING = ("messaging.system", "`qstash`.")
    OPERATION = ("messaging.operation.name", "`publish` or `process`.")
    OPERATION_TYPE = ("messaging.operation.type", "`send` or `process`.")
    DESTINATION = ("messaging.destination.name", "The lane.")
    MESSAGE = (
        "messaging.message.id",
        "`{task}.{step}.{n}`, the deduplication id of a step's n-th message; of a delivery QStash's own.",
    )

    # -- semantic conventions: generative AI -----------------------------------------------------------------
    AI_OPERATION = ("gen_ai.operation.name", "`chat`.")
    AI_PROVIDER = ("gen_ai.provider.name", "`deepseek` or `glm`.")
    AI_MODEL = ("gen_ai.request.model", "The model that was asked for.")
    AI_MAX_TOKENS = ("gen_ai.request.max_tokens", "The most tokens that it was to answer with.")
    AI_TEMPERATURE = ("gen_ai.request.temperature", "The temperature that was asked for.")
    AI_STREAM = ("gen_ai.request.stream", "True: every answer is streamed.")
    AI_OUTPUT = ("gen_ai.output.type", "`text`, or `json` for an object.")
    AI_FINISH = ("gen_ai.response.finish_reasons", "Why the answer ended, in the provider's word.")
    AI_INPUT_TOKENS = ("gen_ai.usage.input_tokens", "Tokens of the prompt.")
    AI_OUTPUT_TOKENS = ("gen_ai.usage.output_tokens", "Tokens of the answer, thinking included.")
    AI_CACHED_TOKENS = (
        "gen_ai.usage.cache_read.input_tokens",
        "Tokens of the prompt that the provider had in its cache.",
    )
    AI_TOKEN_TYPE = ("gen_ai.token.type", "`input` or `output`.")
