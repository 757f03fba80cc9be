"""The merging writer on a real stream: what the model said is what is stored, once, in order, and fenced."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.config import StreamSettings
from shared.errors import AttemptLost, StoreUnavailable
from shared.state.scripts import Script
from shared.state.store import Arg, Store
from shared.stream.events import Thinking
from shared.stream.publisher import AttemptWriter, publish_event

KEY = "cs:events:u1:s1:t1"
EPOCH_MS = 1_700_000_000_000
NEVER_MS = 3_600_000.0


class Wire:
    """A store whose way there or back can be slow, broken or closed, by a plan of (fault, delay in seconds)."""

    def __init__(self, store: Store, plan: Sequence[tuple[str, float]] = ()) -> None:
        self._store = store
        self._plan = iter(plan)
        self.open = threading.Event()
        self.open.set()
        self.commands: list[str] = []
        self.cut = False

    def command(self, *args: Arg) -> Any:
        self.open.wait(30)
        fault, delay_seconds = next(self._plan, ("", 0.0))
        threading.Event().wait(delay_seconds)
        if fault == "lost request" or self.cut:
            raise StoreUnavailable
        self.commands.append(str(args[0]))
        try:
            reply = self._store.command(*args)
        finally:
            if fault == "lost reply":
                raise StoreUnavailable
        return reply

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        raise AssertionError("the writer sends single commands only")

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        raise AssertionError("the writer sends single commands only")

    def close(self) -> None:
        self._store.close()


def start(store: Store, key: str = KEY) -> None:
    store.command("DEL", key)
    store.command("XADD", key, f"{EPOCH_MS}-0", "e", '{"type":"start"}')


def writer(
    store: Store, *, interval_ms: float = 5, size: int = 64, maxlen: int = 10_000, **more: Any
) -> AttemptWriter:
    stream = StreamSettings(interval_ms, size, 60, maxlen, 15, 840)
    return AttemptWriter(
        store, KEY, task_id="t1", step=0, attempt=1, epoch_ms=EPOCH_MS, settings=stream, **more
    )


def stored(store: Store, key: str = KEY) -> list[dict[str, Any]]:
    return [json.loads(fields[1]) | {"id": id_} for id_, fields in store.command("XRANGE", key, "-", "+")]


def text_of(events: list[dict[str, Any]]) -> str:
    """Return the text as a reader puts it together, checking that nothing is missing, doubled or out of place.

    Redis trims a stream by blocks of 4 KiB: what is left of one tells the text from its first snapshot on.
    """
    text, begin = "", 0
    if events[0]["type"] != "start":
        begin = next(n for n, event in enumerate(events) if event["type"] == "resync")
        text = events[begin]["text"]
    for event in events[begin:]:
        if event["type"] == "token_batch":
            assert event["offset"] == len(text)
            text += event["text"]
        if event["type"] == "resync":
            assert event["text"] == text
    return text


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.002)


texts = st.lists(
    st.sampled_from(["", "a", "score: 80\n", "简历", "🚀", "👩‍👩‍👧", "é", "\x00", " "]) | st.text(max_size=8)
)
plans = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "", "lost request", "lost reply"]),
        st.sampled_from([0.0, 0.0, 0.003, 0.02]),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tokens=texts, plan=plans, pauses=st.sets(st.integers(0, 20)), thinks=st.sets(st.integers(0, 20)))
def test_the_streams_text_is_what_was_given_whatever_redis_does(
    store: Store, tokens: list[str], plan: list[tuple[str, float]], pauses: set[int], thinks: set[int]
) -> None:
    """D29: nothing lost, doubled, mixed or out of order, with slow, lost and doubled writes."""
    start(store)
    with writer(Wire(store, plan), maxlen=8) as w:
        for i, token in enumerate(tokens):
            w.token(token)
            if i in pauses:
                threading.Event().wait(0.006)
            if i in thinks:
                w.event(Thinking(step=0, offset=w.text_length))
        w.drain()
        assert w.text == "".join(tokens)
    events = stored(store)
    said = "".join(tokens).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert text_of(events) == said
    if events[0]["type"] != "start":
        return  # trimmed: the rest is about events that are gone
    assert sum(e["count"] for e in events if e["type"] == "token_batch") == sum(1 for t in tokens if t)
    thinking = [e["offset"] for e in events if e.get("thinking")]
    assert thinking == [len("".join(tokens[: i + 1])) for i in sorted(thinks) if i < len(tokens)]


def test_tokens_that_arrive_during_a_write_are_in_the_next_one(store: Store) -> None:
    """D29, D30: the model is never held up by Redis, and what it says meanwhile is neither lost nor doubled."""
    start(store)
    wire = Wire(store)
    with writer(wire, interval_ms=0) as w:
        wire.open.clear()
        for i in range(1000):
            w.token(f"{i} ")
        assert len(stored(store)) == 1
        wire.open.set()
        w.drain()
    assert text_of(stored(store)) == "".join(f"{i} " for i in range(1000))
    assert len(stored(store)) <= 4


def test_the_first_real_token_goes_out_at_once_and_the_next_wait_for_the_interval(store: Store) -> None:
    start(store)
    with writer(store, interval_ms=NEVER_MS) as w:
        for token in ("", "", "He"):
            w.token(token)
        until(lambda: len(stored(store)) == 2)
        for token in ("ll", "o"):
            w.token(token)
        assert text_of(stored(store)) == "He"
        w.event(Thinking(step=0, offset=w.text_length))
        until(lambda: len(stored(store)) == 4)
    assert [e.get("text") for e in stored(store)] == [None, "He", "llo", ""]


def test_a_full_batch_does_not_wait_for_the_interval(store: Store) -> None:
    start(store)
    with writer(store, interval_ms=NEVER_MS, size=4) as w:
        w.token("x")
        until(lambda: len(stored(store)) == 2)
        for _ in range(4):
            w.token("y")
        until(lambda: text_of(stored(store)) == "xyyyy")


def test_a_batch_goes_out_after_the_interval_also_while_the_model_pauses(store: Store) -> None:
    start(store)
    with writer(store, interval_ms=20) as w:
        w.token("a")
        w.token("b")
        until(lambda: text_of(stored(store)) == "ab")


def test_a_batch_costs_one_command(store: Store) -> None:
    """D30: one XADD, to the one channel that is read, and nothing while the model is silent."""
    start(store)
    wire = Wire(store)
    with writer(wire, interval_ms=0) as w:
        for i in range(5):
            w.token("x")
            w.drain()
            assert len(stored(store)) == i + 2
    assert wire.commands == ["XADD"] * 5


def test_after_somebody_elses_event_an_attempt_is_lost_and_writes_nothing_more(store: Store) -> None:
    start(store)
    with contextlib.suppress(AttemptLost), writer(store, interval_ms=0) as w:
        w.token("mine")
        w.drain()
        store.command("XADD", KEY, f"{EPOCH_MS + 1}-0", "e", '{"type":"cancelled"}')
        w.token("not any more")
        with pytest.raises(AttemptLost):
            w.drain()
        with pytest.raises(AttemptLost):
            w.token("nor this")
    assert [e["type"] for e in stored(store)] == ["start", "token_batch", "cancelled"]


def test_a_lost_attempt_raises_at_a_token_too(store: Store) -> None:
    start(store)
    store.command("XADD", KEY, f"{EPOCH_MS + 1}-0", "e", '{"type":"cancelled"}')

    def speak(w: AttemptWriter) -> bool:
        w.token("x")
        return False

    with pytest.raises(AttemptLost), writer(store, interval_ms=0) as w:
        until(lambda: speak(w))
    assert len(stored(store)) == 2


def test_a_write_whose_reply_was_lost_before_a_cancel_is_lost_not_stored_again(store: Store) -> None:
    start(store)
    publish_event(store, KEY, '{"type":"token_batch"}', f"{EPOCH_MS}-1", 100)
    publish_event(store, KEY, '{"type":"token_batch"}', f"{EPOCH_MS}-1", 100)  # the reply was lost: no error
    store.command("XADD", KEY, f"{EPOCH_MS + 1}-0", "e", '{"type":"cancelled"}')
    with pytest.raises(AttemptLost):
        publish_event(store, KEY, '{"type":"token_batch"}', f"{EPOCH_MS}-1", 100)
    assert [e["type"] for e in stored(store)] == ["start", "token_batch", "cancelled"]


def test_a_late_attempt_does_not_bring_an_expired_stream_back(store: Store) -> None:
    """D33: a stream that nobody would ever end again must not be made."""
    with pytest.raises(AttemptLost), writer(store) as w:
        w.token("hello?")
    assert store.command("EXISTS", KEY) == 0


def test_a_store_that_stays_away_ends_the_attempt(store: Store) -> None:
    start(store)
    wire = Wire(store)
    wire.cut = True
    with contextlib.suppress(StoreUnavailable), writer(wire, patience_seconds=0.1) as w:
        w.token("x")
        with pytest.raises(StoreUnavailable):
            w.drain()


def test_half_an_emoji_waits_for_its_other_half(store: Store) -> None:
    start(store)
    rocket = "🚀".encode("utf-16-be", "surrogatepass")
    first, second = (half.decode("utf-16-be", "surrogatepass") for half in (rocket[:2], rocket[2:]))
    with writer(store) as w:
        for token in ("a", first, second, "b", first):
            w.token(token)
        w.drain()
        assert w.text == "a🚀b\ufffd"
        assert w.text_length == 4
    assert text_of(stored(store)) == "a🚀b\ufffd"


def test_what_trimming_leaves_always_tells_the_whole_text(store: Store) -> None:
    start(store)
    with writer(store, interval_ms=0, maxlen=200) as w:
        for i in range(900):
            w.token(f"{i},")
            w.event(Thinking(step=0, offset=w.text_length))
    events = stored(store)
    assert len(events) < 500
    first, *_, last = (i for i, e in enumerate(events) if e["type"] == "resync")
    assert events[last]["throughId"] == events[last - 1]["id"]
    text = events[first]["text"]
    for event in events[first + 1 :]:
        if event["type"] == "token_batch":
            assert event["offset"] == len(text)
            text += event["text"]
    assert text == "".join(f"{i}," for i in range(900))
