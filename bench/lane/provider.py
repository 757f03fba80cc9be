"""The benchmark's provider: a chat API that costs next to nothing, so that what is measured is the lane.

    python -m bench.lane.provider        (prints its port, ends with its input)

The base URL says what comes: below `/burst-500` 500 tokens as fast as the socket takes them, below
`/paced-50-500` 500 tokens at 50 a second. Each event travels as a chunk of its own, as providers send it.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import cache

_ASKED = re.compile(rb"POST /(burst|paced-(\d+))-(\d+)/")
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORDS = (
    "The ",
    "candidate ",
    "has ",
    "run ",
    "a ",
    "payment ",
    "platform ",
    "简历",
    "，",
    "\n",
    "- ",
    "**Kafka** ",
)
FIRST_TOKEN_SECONDS = 0.2


def event(index: int, **choice: object) -> bytes:
    """Return one event as DeepSeek writes it, as an HTTP chunk."""
    data = {
        "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
        "object": "chat.completion.chunk",
        "created": 1_764_200_000,
        "model": "deepseek-chat",
        "system_fingerprint": "fp_ffc7281d48_prod0820_fp8_kvcache",
        "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None, **choice}],
    }
    if "finish_reason" in choice:
        data["usage"] = {"prompt_tokens": 900, "completion_tokens": index, "total_tokens": 900 + index}
    body = b"data: %b\n\n" % json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%x\r\n%b\r\n" % (len(body), body)


@cache
def answer(tokens: int) -> list[bytes]:
    """Return the chunks of an answer: one for each token, then the one that ends it."""
    words = [
        event(index, delta={"content": f"{WORDS[index % len(WORDS)]}{index} "}) for index in range(tokens)
    ]
    done = b"data: [DONE]\n\n"
    return [
        *words,
        event(tokens, delta={"content": ""}, finish_reason="stop")
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done),
    ]


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        print(server.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        sys.stdin.read()


def _accept(server: socket.socket) -> None:
    while True:
        each, _ = server.accept()
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(each,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while (request := _request(connection)) and (asked := _ASKED.match(request)):
            chunks = answer(int(asked[3]))
            if asked[2] is None:
                connection.sendall(_HEAD + b"".join(chunks))
            else:
                _send_paced(connection, chunks, 1 / int(asked[2]))


def _send_paced(connection: socket.socket, chunks: list[bytes], interval_seconds: float) -> None:
    due = time.monotonic() + FIRST_TOKEN_SECONDS
    connection.sendall(_HEAD)
    for chunk in chunks:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.sendall(chunk)
        due += interval_seconds


def _request(connection: socket.socket) -> bytes:
    """Read one request and return its head; nothing when the client has gone."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65_536)):
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65_536)
    return head


if __name__ == "__main__":
    main()
