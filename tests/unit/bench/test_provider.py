"""The fake model: what it says, as a client gets it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from bench.pipelines.client import Request, call, exchange
from bench.pipelines.provider import Pace
from bench.pipelines.reading import Reading, read
from bench.pipelines.subjects import provider


async def answer(url: str, pace: Pace) -> Reading:
    await call(Request("POST", f"{url}/pace", body=pace.to_json()), 30)
    request = Request("POST", f"{url}/v1/chat/completions", body=b"{}")
    return read(0, (await exchange(request, 30)).received)


def test_an_answer_has_every_token_once_and_says_when_it_was_asked_and_sent(tmp_path: Path) -> None:
    with provider(sys.executable, tmp_path) as url:
        reading = asyncio.run(answer(url, Pace(tokens=50, first_token_ms=20, tokens_per_second=100)))
    assert [token.index for token in reading.tokens] == list(range(50))
    assert (reading.end, reading.doubled) == ("done", 0)
    assert reading.asked_ns is not None
    sent = [token.sent_ns for token in reading.tokens]
    assert sent == sorted(sent)
    assert sent[0] - reading.asked_ns >= 20_000_000
    assert sent[-1] - sent[0] >= 0.9 * 49 * 10_000_000
    assert all(token.arrived_ns > token.sent_ns for token in reading.tokens)


def test_what_it_sends_is_the_chat_protocol(tmp_path: Path) -> None:
    with provider(sys.executable, tmp_path) as url:

        async def raw() -> bytes:
            await call(Request("POST", f"{url}/pace", body=Pace(2, 0, 0).to_json()), 30)
            request = Request("POST", f"{url}/v1/chat/completions", body=b"{}")
            return b"".join(data for _, data in (await exchange(request, 30)).received)

        lines = [line[6:] for line in asyncio.run(raw()).split(b"\n") if line.startswith(b"data: ")]
    assert lines.pop() == b"[DONE]"
    events = [json.loads(line) for line in lines]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, None, "stop"]
    assert events[1]["choices"][0]["delta"]["content"].startswith("t0:")
    assert events[-1]["usage"]["total_tokens"] == 1400
