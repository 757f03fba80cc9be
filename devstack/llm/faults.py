"""What can go wrong at a provider, on demand: for the next N calls or until cleared, for one model or all."""

from __future__ import annotations

from enum import StrEnum
from threading import Lock

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class FaultKind(StrEnum):
    STATUS = "status"
    """Answers `status`, with `retry_after` as its Retry-After header."""
    HANG = "hang"
    """Takes the request and never answers."""
    SILENCE = "silence"
    """Falls silent after `after_pieces`, with the connection open."""
    CUT = "cut"
    """Drops the connection after `after_pieces`."""
    UNFINISHED = "unfinished"
    """Ends the stream properly after `after_pieces`, without a finish reason."""
    THINKING = "thinking"
    """Thinks for ever and never comes to the answer."""
    EMPTY = "empty"
    """Finishes without a word."""
    BAD_JSON = "bad_json"
    """Answers a text that is no JSON object."""
    GARBLED = "garbled"
    """Sends an event that is no JSON after `after_pieces`."""
    INVALID_UTF8 = "invalid_utf8"
    """Sends bytes that are no UTF-8 after `after_pieces`."""
    ERROR_EVENT = "error_event"
    """Reports an error inside the stream after `after_pieces`."""
    ENDLESS = "endless"
    """Says `text`, or what it would have said, over and over for ever, ignoring max_tokens."""
    TOOL_CALL = "tool_call"
    """Calls a tool that nobody offered."""
    FILTERED = "filtered"
    """Stops after `after_pieces` with the finish reason content_filter."""
    SAYS = "says"
    """Answers `text`, word for word, with `finish_reason`; `{fence}` in it is the code of the data marks."""
    LOOP = "loop"
    """Answers `text` and then its last 20 characters for ever, ignoring max_tokens."""
    NO_JSON_MODE = "no_json_mode"
    """Refuses a request that has a `response_format`, with 400; hits no other."""
    NO_USAGE = "no_usage"
    """Leaves out the usage that was asked for."""


class Fault(BaseModel):
    """One thing that goes wrong; `times` counts down with each call it hits, None means until cleared."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    kind: FaultKind
    times: int | None = Field(default=1, ge=1)
    model: str | None = None
    about: str = ""
    """Words that the request must hold, such as a user's name in the material; nothing for any request."""
    status: int = Field(default=500, ge=400, le=599)
    retry_after: str | None = None
    message: str = "A fault that was asked for."
    """What a `status`, a `no_json_mode` or an `error_event` says."""
    after_pieces: int = Field(default=5, ge=0)
    text: str = ""
    finish_reason: str = "stop"

    def hits(self, model: str, prompt: str, *, has_format: bool) -> bool:
        fits = has_format or self.kind is not FaultKind.NO_JSON_MODE
        return self.model in (None, model) and self.about in prompt and fits


class FaultBook:
    """The faults still to come, first come, first served. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, model: str, prompt: str = "", *, has_format: bool = False) -> Fault | None:
        """Return the fault that hits this call, if any, and count it.

        Args:
            model: the model that is called.
            prompt: all that it is told.
            has_format: whether the call has a `response_format`.
        """
        with self._lock:
            fault = next((f for f in self._faults if f.hits(model, prompt, has_format=has_format)), None)
            if fault is not None and fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
            return fault
