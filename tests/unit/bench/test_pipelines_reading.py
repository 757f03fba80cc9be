"""What the benchmark's reader makes of the bytes it got."""

from __future__ import annotations

import pytest

from bench.pipelines.reading import Body, read

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MS = 1_000_000


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def batch(*tokens: str) -> bytes:
    return b'event: token_batch\ndata: {"text":"%b"}\n\n' % "".join(f"{token} " for token in tokens).encode()


def test_added_time_to_first_token_is_what_passed_before_the_model_was_asked_and_after_it_spoke() -> None:
    received = [(1, HEAD), (260 * MS, chunk(batch(f"t0:{255 * MS}:{103 * MS}")))]
    reading = read(100 * MS, received)
    assert reading.added_first_ms == pytest.approx(3 + 5)


def test_a_token_arrives_with_the_piece_that_completes_it() -> None:
    whole = chunk(batch("t0:0:0", f"t1:{2 * MS}"))
    cut = whole.index(b"t1:") + 1
    reading = read(0, [(0, HEAD), (5 * MS, whole[:cut]), (9 * MS, whole[cut:])])
    assert [token.arrived_ns for token in reading.tokens] == [5 * MS, 9 * MS]
    assert reading.added_token_ms == [7.0]


def test_a_token_that_chunks_cut_in_two_is_whole() -> None:
    frame = batch("t0:0:0", "t1:1234567")
    cut = frame.index(b"t1:") + 5
    reading = read(0, [(1, HEAD + chunk(frame[:cut])), (2, chunk(frame[cut:]))])
    assert [(token.index, token.sent_ns, token.arrived_ns) for token in reading.tokens] == [
        (0, 0, 1),
        (1, 1234567, 2),
    ]


def test_a_body_without_chunks_is_read_too() -> None:
    body = Body([(3, b"HTTP/1.1 200 OK\r\n\r\nab"), (4, b"cd")])
    assert body.data == b"abcd"
    assert [body.arrived_ns(end) for end in (1, 2, 3, 4)] == [3, 3, 4, 4]


def test_a_new_attempt_drops_the_text_and_what_the_last_event_repeats_is_no_token() -> None:
    frames = [
        b"event: start\ndata: {}\n\n",
        batch("t0:1:1", "t1:2"),
        b"event: start\ndata: {}\n\n",
        batch("t0:3:3", "t1:4", "t2:5"),
        b'event: done\ndata: {"result":"t0:3:3 t1:4 t2:5 "}\n\n',
    ]
    reading = read(0, [(9, HEAD + b"".join(map(chunk, frames)))])
    assert [token.index for token in reading.tokens] == [0, 1, 2]
    assert (reading.dropped, reading.doubled, reading.lost(3), reading.end) == (2, 0, 0, "done")


def test_what_is_lost_and_what_is_doubled_is_counted() -> None:
    reading = read(0, [(9, HEAD + chunk(batch("t0:1:1", "t2:2", "t2:2", "t0:3:3")))])
    assert (reading.lost(5), reading.doubled, reading.end) == (3, 2, None)


def test_an_answer_without_a_token_has_no_time_to_its_first() -> None:
    with pytest.raises(ValueError, match="no first token"):
        _ = read(0, [(1, HEAD)]).added_first_ms


def test_the_providers_own_end_is_an_end() -> None:
    assert read(0, [(1, HEAD + chunk(b"data: [DONE]\n\n"))]).end == "done"
