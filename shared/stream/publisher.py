"""Writes a running attempt's events: tokens merged, in order, fenced, and never in the model's way.

    on_text ─▶ token() ─▶ pending ─▶ the writer's thread ─▶ publish_event ─▶ XADD {epoch}-{n}

One write is in flight at a time, under an explicit id that counts up from the attempt's epoch. Redis
refuses an id that is not above the stream's last: a batch whose reply was lost is simply sent again, and an
attempt that was taken over or cancelled, whose stream has a newer id by then, is refused and stops
(`AttemptLost`). Tokens that arrive while a write is under way wait for the next one (D29, D30).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from shared.config import StreamSettings
from shared.errors import AttemptLost, SluiceError, StoreUnavailable
from shared.logs import LogEvent, carried, event
from shared.state.store import CommandRefused, Store
from shared.stream.events import Event, Resync, TokenBatch, encode

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
"""How long a write is sent again before it has failed for good; below a lease, which the keeper watches."""
FIRST_PAUSE_SECONDS = 0.05
LEAVE_SECONDS = 1.0
_NOT_ABOVE = "equal or smaller than the target stream top item"


def publish_event(store: Store, key: str, event_json: str, id_: str, maxlen: int) -> None:
    """Store one event of an attempt under its id; sent twice, it is stored once.

    The stream must be there: it was made with its task, and to make it anew would forget the fence and leave
    a stream that never expires.

    Raises:
        AttemptLost: somebody else's newer event, or the stream's end, came first; nothing was written.
        StoreUnavailable: it may or may not have been stored; sending it again under the same id is safe.
    """
    try:
        stored = store.command("XADD", key, "NOMKSTREAM", "MAXLEN", "~", maxlen, id_, "e", event_json)
    except CommandRefused as refusal:
        if _NOT_ABOVE not in str(refusal):
            raise
        last = store.command("XREVRANGE", key, "+", "-", "COUNT", 1)
        stored = last and last[0][0] == id_
    if not stored:
        raise AttemptLost


@dataclass(slots=True)
class _Tokens:
    """Tokens that will travel as one batch."""

    offset: int
    parts: list[str] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True)
class WriteSums:
    """All that a writer has written so far, in sum; times are ns since the epoch."""

    writes: int = 0
    tokens: int = 0
    bytes: int = 0
    longest_seconds: float = 0.0
    began_ns: int = 0
    ended_ns: int = 0

    def add(self, event_json: str, began_ns: int, ended_ns: int) -> None:
        """Count a write."""
        self.writes += 1
        self.bytes += len(event_json.encode())
        self.longest_seconds = max(self.longest_seconds, (ended_ns - began_ns) / 1e9)
        self.began_ns = self.began_ns or began_ns
        self.ended_ns = ended_ns


class AttemptWriter:
    """The merging writer of one attempt. A context manager; it owns the thread that writes.

    Args:
        epoch_ms: the attempt's epoch; the claim has written `{epoch}-0`, this writes from `{epoch}-1`.
        patience_seconds: how long one write is tried when Redis does not answer.
    """

    def __init__(
        self,
        store: Store,
        stream_key: str,
        *,
        task_id: str,
        step: int,
        attempt: int,
        epoch_ms: int,
        settings: StreamSettings,
        clock: Callable[[], float] = time.time,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.sums = WriteSums()
        """Added up by the writer's thread."""
        self._store = store
        self._key = stream_key
        self._task_id = task_id
        self._step = step
        self._attempt = attempt
        self._epoch_ms = epoch_ms
        self._settings = settings
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: deque[_Tokens | str] = deque()
        self._parts: list[str] = []
        self._length = 0
        self._half = ""
        self._writing = self._draining = self._closed = self._idle = False
        self._error: SluiceError | None = None
        self._n = 0
        self._snapshot_n = 0
        self._flushed_at: float | None = None
        self._began = time.monotonic()
        self._told = False
        self._thread = threading.Thread(target=carried(self._run), name=f"writer-{task_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.drain()
        finally:
            with self._changed:
                self._closed = True
                self._pending.clear()
                self._changed.notify_all()
            # A write that hangs does not keep the worker: whatever ends the attempt fences it.
            self._thread.join(LEAVE_SECONDS)

    @property
    def text(self) -> str:
        """The whole text so far."""
        with self._changed:
            return "".join(self._parts)

    @property
    def text_length(self) -> int:
        """Code points of the text so far."""
        return self._length

    def token(self, text: str) -> None:
        """Take a token; returns at once, whatever Redis does.

        Raises:
            AttemptLost: the attempt is over.
            StoreUnavailable: an earlier write failed for good.
        """
        with self._lock:
            self._raise_error()
            if self._half or not text.isascii():
                text = self._whole(text)
            if not text:
                return  # LangChain's first chunk is empty: it must not spend the first token's flush
            last = self._pending[-1] if self._pending else None
            batch = last if isinstance(last, _Tokens) else self._open_batch()
            batch.parts.append(text)
            batch.count += 1
            self._parts.append(text)
            self._length += len(text)
            if (batch.count == 1 and self._idle) or batch.count == self._settings.flush_size:
                self._changed.notify_all()

    def event(self, event: Event) -> None:
        """Take any other event: it flushes the tokens before it and keeps its place. Raises as `token`."""
        with self._changed:
            self._raise_error()
            self._pending.append(self._encode(event))
            self._changed.notify_all()

    def drain(self) -> None:
        """Return when all that was taken is stored. Raises as `token`."""
        with self._changed:
            if self._half:
                self._half = ""
                self._open_batch().parts.append("\ufffd")
                self._parts.append("\ufffd")
                self._length += 1
            self._draining = True
            self._changed.notify_all()
            stored = self._changed.wait_for(
                lambda: self._error or not (self._pending or self._writing), self._patience_seconds * 2
            )
            self._draining = False
            self._raise_error()
            if not stored:
                raise StoreUnavailable("The events of this attempt could not be stored in time.")

    # -- taking ----------------------------------------------------------------------------------------------

    def _open_batch(self) -> _Tokens:
        batch = _Tokens(self._length)
        self._pending.append(batch)
        return batch

    def _whole(self, text: str) -> str:
        """Mend characters that a provider cut in two: half an emoji cannot be stored."""
        text = self._half + text
        self._half = ""
        try:
            text.encode()
        except UnicodeEncodeError:
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _encode(self, event: Event) -> str:
        at_ms = round(self._clock() * 1000)
        return encode(event, task_id=self._task_id, attempt=self._attempt, at_ms=at_ms)

    # -- writing: the thread's own ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (event_json := self._next()) is not None:
                self._write(event_json)
                self._tell_first()
                self._snapshot_if_due()
        except SluiceError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - the thread's edge; told with its stack
            event(log, LogEvent.WRITER_FAILED, error=error, traced=True)
            self._give_up(
                StoreUnavailable(f"The events of this attempt could not be stored: {type(error).__name__}")
            )

    def _tell_first(self) -> None:
        """Log once how long a user has waited for the first words: after they are there, in nobody's way."""
        if not self._told and self._flushed_at is not None:
            self._told = True
            event(log, LogEvent.FIRST_TOKEN, stored_ms=round((time.monotonic() - self._began) * 1000))

    def _give_up(self, error: SluiceError) -> None:
        with self._changed:
            self._error = error
            self._pending.clear()
            self._writing = False
            self._changed.notify_all()

    def _next(self) -> str | None:
        """Wait for what is due and return it as JSON; None once the writer is closed."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._closed:
                wait_seconds = self._due_in_seconds()
                if wait_seconds == 0:
                    self._writing = True
                    return self._take()
                self._idle = wait_seconds is None
                self._changed.wait(wait_seconds)
                self._idle = False
            return None

    def _due_in_seconds(self) -> float | None:
        """Return when to look again, or to write: 0 for now, None for when something changes.

        While an interval runs, the thread wakes at its end, whether or not a token has come: so the first
        token of a batch need not wake it, only for it to wait again.
        """
        head = self._pending[0] if self._pending else None
        if head is not None and (
            isinstance(head, str)
            or len(self._pending) > 1
            or self._draining
            or head.count >= self._settings.flush_size
        ):
            return 0
        left_seconds = self._interval_left_seconds()
        return left_seconds if head is not None or left_seconds else None

    def _interval_left_seconds(self) -> float:
        if self._flushed_at is None:
            return 0.0
        return max(0.0, self._flushed_at + self._settings.flush_interval_ms / 1000 - time.monotonic())

    def _take(self) -> str:
        item = self._pending.popleft()
        if isinstance(item, str):
            return item
        self._flushed_at = time.monotonic()
        self.sums.tokens += item.count
        return self._encode(
            TokenBatch(step=self._step, text="".join(item.parts), offset=item.offset, count=item.count)
        )

    def _write(self, event_json: str) -> None:
        self._n += 1
        id_, began_ns = f"{self._epoch_ms}-{self._n}", time.time_ns()
        give_up_at = time.monotonic() + self._patience_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                publish_event(self._store, self._key, event_json, id_, self._settings.maxlen)
            except StoreUnavailable:
                if self._pause(pause_seconds) or time.monotonic() >= give_up_at:
                    raise
                pause_seconds = min(1.0, pause_seconds * 2)
            else:
                self.sums.add(event_json, began_ns, time.time_ns())
                return

    def _pause(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def _snapshot_if_due(self) -> None:
        """Write the whole text once in half a stream's length: what trimming leaves then always tells it."""
        if self._n - self._snapshot_n < max(1, self._settings.maxlen // 2):
            return
        with self._changed:
            pending = sum(
                len(part) for item in self._pending if isinstance(item, _Tokens) for part in item.parts
            )
            text = "".join(self._parts)[: self._length - pending]
        self._write(
            self._encode(Resync(step=self._step, text=text, through_id=f"{self._epoch_ms}-{self._n}"))
        )
        self._snapshot_n = self._n
