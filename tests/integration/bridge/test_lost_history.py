"""What a reader is sent when history was trimmed, has expired or never was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shared.state.keys import TaskRef
from shared.state.lifecycle import Attempt
from shared.stream.events import decode
from tests.integration.bridge.kit import (
    KEY,
    REF,
    Browser,
    Work,
    text_of,
)


def trimmed_work(make_work: Callable[..., Work], batches: int = 700) -> tuple[Work, Attempt, str]:
    work = make_work(maxlen=200)
    attempt = work.claim()
    tokens = [f"{i}," for i in range(batches)]
    work.say(attempt, *tokens)
    assert len(work.ids()) < 500
    return work, attempt, "".join(tokens)


@pytest.mark.parametrize("place", ["", "gone", "unknown"])
def test_d33_a_reader_whose_place_was_trimmed_gets_the_whole_text_at_once_and_goes_on(
    browser: Browser, make_work: Callable[..., Work], place: str
) -> None:
    """D33, D34: what is missing is said, and the text is whole again."""
    work, attempt, said = trimmed_work(make_work)
    after = {"": "", "gone": f"{attempt.epoch}-5", "unknown": "9999999999999-0"}[place]
    with browser.read(after=after) as reader:
        resync = reader.next()
        assert resync.event == "resync"
        assert resync.id == resync.data["throughId"]
        assert resync.data["text"] == said
        decode(json.dumps(resync.data))
        work.say(attempt, "more")
        work.finish(attempt, said + "more")
        frames = [resync, *reader.rest()]
    assert text_of(frames) == said + "more"
    assert [f.event for f in frames] == ["resync", "token_batch", "done"]


def test_a_reader_whose_place_is_still_there_is_not_told_of_snapshots(
    browser: Browser, make_work: Callable[..., Work]
) -> None:
    work, attempt, said = trimmed_work(make_work)
    ids = work.ids()
    work.finish(attempt, said)
    with browser.read(last_event_id=ids[0]) as reader:
        frames = reader.rest()
    assert {frame.event for frame in frames} == {"token_batch", "done"}
    assert said.endswith("".join(f.data["text"] for f in frames if f.event == "token_batch"))


@pytest.mark.parametrize("end", ["done", "error", "cancelled"])
def test_when_the_stream_has_expired_the_outcome_is_told_from_the_record(
    browser: Browser, work: Work, end: str
) -> None:
    """D32: an expired stream is not an open connection without an end."""
    attempt = work.claim()
    match end:
        case "done":
            work.finish(attempt, "text")
        case "error":
            work.tasks.fail(attempt, code="empty_output", message="Nothing came.")
        case "cancelled":
            work.tasks.cancel(REF)
    seen = work.ids()[-1]
    stored = json.loads(work.store.command("XREVRANGE", KEY, "+", "-", "COUNT", 1)[0][1][1])
    work.expire_stream()
    with browser.read() as reader:
        (frame,) = reader.rest()
    assert frame.event == end
    decode(json.dumps(frame.data))
    assert {**frame.data, "at": 0, "latencyMs": 0} == {**stored, "at": 0, "latencyMs": 0}
    assert browser.get(headers={"Last-Event-ID": str(frame.id)}).status_code == 204
    later = f"{int(seen.split('-')[0]) + 5}-0"
    assert browser.get(after=later).status_code == 204


def test_a_task_that_never_was_is_404(browser: Browser) -> None:
    answer = browser.get()
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_record_of_another_user_or_service_is_404(browser: Browser, work: Work) -> None:
    """D25, D35: a token for a channel of one's own does not read another's record."""
    work.tasks.cancel(REF)
    work.expire_stream()
    assert browser.get(TaskRef("t1", "s1", "someone else")).status_code == 404
    assert browser.get(TaskRef("t1", "s2", "u1")).status_code == 404
