"""Merging, places and folds: however a history is cut, its text comes out whole or is said to be unknown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.routing import Lane, Template
from shared.stream.entries import Entry, Place, PlaceLost, format_id, merged, parse_entries, parse_id
from shared.stream.events import Event, Queued, Resync, Retrying, Start, Thinking, TokenBatch, encode
from shared.stream.replay import Extent, Fold

QUEUED = Queued(queue_id=Lane.PAID_STREAM, step=0, position=0, eta_seconds=None)
START = Start(step=0, template_id=Template.JOB_MATCH, queue_id=Lane.PAID_STREAM)


def entries(*events: tuple[int, Event]) -> list[Entry]:
    """Number events from 1-0 on; each comes with its attempt."""
    stored = [
        (f"{n}-0", ["e", encode(event, task_id="t1", attempt=attempt, at_ms=n)])
        for n, (attempt, event) in enumerate(events, start=1)
    ]
    return list(parse_entries(stored))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Entry], str]:
    """A task's stream as the writer leaves it, and the text of its last attempt."""
    events: list[tuple[int, Event]] = [(0, QUEUED)]
    text = ""
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        if attempt > 1:
            events.append((attempt - 1, Retrying(reason="provider_error", retry_after=1)))
        events.append((attempt, START))
        text = ""
        for part in draw(st.lists(st.sampled_from(["a", "简历", "🚀\n", "think", "snapshot"]), max_size=12)):
            if part == "think":
                events.append((attempt, Thinking(step=0, offset=len(text))))
            elif part == "snapshot":
                events.append((attempt, Resync(step=0, text=text, through_id=f"{len(events)}-0")))
            else:
                events.append((attempt, TokenBatch(step=0, text=part, offset=len(text), count=1)))
                text += part
    return entries(*events), text


def shown(sent: Sequence[Entry], text: str = "") -> str:
    """Put the text together as a page does."""
    for entry in sent:
        if entry.type == "start":
            text = ""
        elif entry.type == "resync":
            text = entry.event["text"]
        elif entry.type == "token_batch":
            assert entry.event["offset"] == len(text)
            text += entry.event["text"]
    return text


@given(history=histories(), cut=st.integers(0, 40))
def test_a_history_sent_in_two_parts_and_merged_tells_the_same_text(
    history: tuple[list[Entry], str], cut: int
) -> None:
    """D34: whatever was seen before a reconnect, nothing is missing and nothing repeated."""
    stream, text = history
    first = Place()
    before = list(merged(entry for entry in stream[:cut] if first.takes(entry)))
    second = Place(before[-1].id if before and before[-1].id else (0, 0))
    after = list(merged(entry for entry in stream if second.takes(entry)))
    assert shown([*before, *after]) == text
    assert all(entry.type != "resync" for entry in before + after)


@given(history=histories(), trimmed=st.integers(1, 40))
def test_a_trimmed_history_folds_to_the_whole_text_or_to_none(
    history: tuple[list[Entry], str], trimmed: int
) -> None:
    """D33: what is left tells the text, or it is not claimed to be known."""
    stream, text = history
    rest = stream[trimmed:]
    fold = Fold()
    fold.add(rest)
    assert fold.text is None or "".join(fold.text) == text
    sent = fold.entries()
    assert [entry.id for entry in sent] == sorted(entry.id for entry in sent if entry.id)
    if any(entry.type in {"start", "resync"} for entry in rest):
        assert shown(sent) == text
        assert sum(entry.type == "resync" for entry in sent) == 1


def test_adjacent_batches_travel_as_one_under_the_last_ones_id() -> None:
    stream = entries(
        (1, START),
        (1, TokenBatch(step=0, text="a", offset=0, count=1)),
        (1, TokenBatch(step=0, text="bc", offset=1, count=2)),
        (1, Thinking(step=0, offset=3)),
        (1, TokenBatch(step=0, text="d", offset=3, count=1)),
    )
    _, batch, thinking, last = merged(stream)
    assert batch.id == (3, 0)
    assert (batch.event["text"], batch.event["offset"], batch.event["count"]) == ("abc", 0, 3)
    assert batch.event["at"] == 3
    assert (thinking, last) == (stream[3], stream[4])


def test_text_that_does_not_follow_is_never_passed_on() -> None:
    place = Place()
    start, first, third = entries(
        (1, START),
        (1, TokenBatch(step=0, text="a", offset=0, count=1)),
        (1, TokenBatch(step=0, text="c", offset=2, count=1)),
    )
    assert place.takes(start)
    assert place.takes(first)
    with pytest.raises(PlaceLost):
        place.takes(third)


def test_a_reader_whose_text_is_unknown_gets_it_with_the_next_snapshot() -> None:
    place = Place(lost=True)
    batch, snapshot, more = entries(
        (1, TokenBatch(step=0, text="b", offset=1, count=1)),
        (1, Resync(step=0, text="ab", through_id="1-0")),
        (1, TokenBatch(step=0, text="c", offset=2, count=1)),
    )
    assert [place.takes(entry) for entry in (batch, snapshot, more)] == [False, True, True]


def test_a_stream_that_begins_with_its_first_event_is_whole_and_one_that_does_not_is_not() -> None:
    stream = entries((0, QUEUED), (1, START), (1, TokenBatch(step=0, text="a", offset=0, count=1)))
    assert Extent(stream[0], stream[-1]).is_whole_after((0, 0))
    assert not Extent(stream[1], stream[-1]).is_whole_after((1, 0))
    assert Extent(stream[1], stream[-1]).is_whole_after((2, 0))
    assert not Extent(stream[0], stream[-1]).is_whole_after((9, 0))
    assert Extent(None, None).is_whole_after((9, 0))


def test_a_frame_is_an_id_a_type_and_one_line_of_json() -> None:
    event = {"type": "token_batch", "text": "a\nb", "offset": 0}
    entry = Entry.of(event, (5, 1), '{\n"type":"token_batch","text":"a\\nb","offset":0}')
    data = b'{"type":"token_batch","text":"a\\nb","offset":0}'
    assert entry.frame == b"id: 5-1\nevent: token_batch\ndata: " + data + b"\n\n"
    assert Entry.of({"type": "stalled"}, None).frame == b'event: stalled\ndata: {"type":"stalled"}\n\n'


@pytest.mark.parametrize("text", ["", "-", "1-", "-1", "a", "1-2-3", "1 ", "１", "9" * 20])
def test_what_is_no_stream_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_id(text)


def test_stream_ids_compare_as_numbers() -> None:
    assert parse_id("9-10") > parse_id("9-9") > parse_id("9") == (9, 0)
    assert format_id(parse_id("12-3")) == "12-3"


def test_what_is_not_an_event_is_left_out() -> None:
    broken = ["{", "[]", "1", '{"a":1}', '{"type":"token_batch","offset":"x","text":1}']
    assert list(parse_entries([("1-0", ["e", text]) for text in broken] + [("2-0", ["x", "y"])])) == []
