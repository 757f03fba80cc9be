"""What a reader is sent: history, then what comes, then the end; and where it resumes."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from shared.routing import Model, Tier
from shared.state import keys
from shared.stream.events import decode
from tests.integration.bridge.kit import (
    REF,
    Browser,
    Frame,
    Work,
    text_of,
)


def test_a_reader_gets_history_then_what_comes_then_the_end_and_the_connection_closes(
    browser: Browser, work: Work
) -> None:
    """D32: a terminal event ends the connection."""
    attempt = work.claim()
    work.say(attempt, "score: 80\n", "你好 ")
    with browser.read() as reader:
        assert [frame.event for frame in reader.take(2)] == ["queued", "start"]
        assert reader.next().data["text"] == "score: 80\n你好 "
        for token in ("🚀", " and", " more"):
            work.say(attempt, token)
            assert reader.next().data["text"] == token
        work.finish(attempt, "score: 80\n你好 🚀 and more")
        last = reader.next()
        assert (last.event, last.data["result"]["score"]) == ("done", 80)
        assert reader.rest() == []
    assert reader.response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reader.response.headers["cache-control"] == "no-cache, no-transform"
    assert reader.response.headers["x-accel-buffering"] == "no"


def test_every_frame_is_an_event_of_the_contract_under_its_stream_id(browser: Browser, work: Work) -> None:
    slots = keys.slots(Model.DEEPSEEK_REASONER, Tier.PAID)
    work.store.command("ZADD", slots, *(arg for i in range(5) for arg in (9e15, f"other {i}")))
    assert work.try_claim().status == "no_slot"
    work.store.command("DEL", slots)
    work.tasks.release(work.claim(), code="provider_error", message="x", retry_after_seconds=1)
    work.say(work.claim(), "one")
    work.tasks.cancel(REF)
    with browser.read() as reader:
        frames = reader.rest()
    assert [frame.id for frame in frames] == work.ids()
    types = ["queued", "backpressure", "start", "retrying", "start", "token_batch", "cancelled"]
    assert [frame.event for frame in frames] == types
    for frame in frames:
        assert type(decode(json.dumps(frame.data))).type == frame.event
        assert frame.data["taskId"] == "t1"


@pytest.mark.parametrize("by", ["header", "query", "header wins"])
def test_a_reader_that_comes_back_gets_only_what_it_has_not_seen(
    browser: Browser, work: Work, by: str
) -> None:
    """D34: no text is repeated, and none is missing."""
    attempt = work.claim()
    work.say(attempt, "a", "b", "c")
    seen = work.ids()[2]
    header = seen if by != "query" else None
    after = {"query": seen, "header wins": "0", "header": ""}[by]
    work.finish(attempt, "abc")
    with browser.read(last_event_id=header, after=after) as reader:
        frames = reader.rest()
    assert [(f.event, f.data.get("text"), f.data.get("offset")) for f in frames] == [
        ("token_batch", "bc", 1),
        ("done", None, None),
    ]


def test_a_reader_that_has_seen_the_end_gets_204(browser: Browser, work: Work) -> None:
    work.tasks.cancel(REF)
    before, end = work.ids()
    assert browser.get(headers={"Last-Event-ID": end}).status_code == 204
    with browser.read(last_event_id=before) as reader:
        assert [frame.event for frame in reader.rest()] == ["cancelled"]


def test_a_retry_starts_its_text_anew_and_nothing_of_the_first_attempt_is_mixed_in(
    browser: Browser, work: Work
) -> None:
    first = work.claim()
    work.say(first, "wrong ", "start")
    work.tasks.release(first, code="provider_error", message="x", retry_after_seconds=1)
    second = work.claim()
    with browser.read() as reader:
        work.say(second, "right")
        work.finish(second, "right")
        frames = reader.rest()
    assert [f.data["attempt"] for f in frames if f.event == "start"] == [1, 2]
    assert text_of(frames) == "right"


def test_readers_that_join_while_events_are_stored_miss_none_and_see_none_twice(
    browser: Browser, work: Work
) -> None:
    """D34: history and live events meet without a gap, whenever a reader comes and from wherever it resumes."""
    attempt = work.claim()
    results: list[list[Frame]] = []

    def read_in_two_connections(cut_after: int) -> None:
        client = Browser(browser.url)
        with client.read() as reader:
            frames = list(itertools.islice(reader.frames(), cut_after))
        if frames[-1].event != "done":
            with client.read(last_event_id=frames[-1].id) as reader:
                frames += reader.rest()
        results.append(frames)
        client.http.close()

    readers = [threading.Thread(target=read_in_two_connections, args=(2 + i % 9,)) for i in range(24)]
    said = ""
    for i in range(
        2400
    ):  # one write after the other, so that some fall between a reader's history and its live events
        said += f"{i} "
        work.say(attempt, f"{i} ")
        if i % 100 == 0:
            readers[i // 100].start()
    work.finish(attempt, said)
    for thread in readers:
        thread.join(30)
    assert len(results) == len(readers)
    for frames in results:
        ids = [tuple(map(int, str(frame.id).split("-"))) for frame in frames]
        assert ids == sorted(set(ids))
        assert text_of(frames) == said
        assert frames[-1].event == "done"
