"""What the benchmark's processes agree on: the channels, their keys and tokens, and the mark in every batch.

The mark is the writer's monotonic clock, which all processes of one machine share, as 19 digits of ns: so a
reader tells a batch's age without any other word between the two.
"""

from __future__ import annotations

import json
import time

from shared.auth import StreamTokens
from shared.state import keys
from shared.state.keys import TaskRef

SECRET = "a stream token secret of the benchmark"
MARK = b'"text":"'
MARK_DIGITS = 19


def ref_of(channel: int) -> TaskRef:
    return TaskRef(f"t{channel}", f"s{channel}", f"u{channel}")


def stream_key(channel: int) -> str:
    ref = ref_of(channel)
    return keys.events(ref.user_id, ref.service_id, ref.task_id)


def request_target(channel: int) -> str:
    ref = ref_of(channel)
    token = StreamTokens(SECRET, 3600).issue(ref.user_id, ref.service_id, ref.task_id)
    return f"/events/{ref.service_id}/{ref.task_id}?token={token}"


def key_of_path(path: str) -> bytes:
    """Return the stream's key for a request's path."""
    return stream_key(int(path.rpartition("/t")[2])).encode()


def token_batch(channel: int, number: int) -> str:
    """Return the event of one batch, marked with the time of this call."""
    text = f"{time.monotonic_ns():0{MARK_DIGITS}d} a merged batch of words "
    at_ms = time.time_ns() // 1_000_000
    return (
        f'{{"type":"token_batch","taskId":"t{channel}","attempt":1,"at":{at_ms},"step":0,'
        f'"text":"{text}","offset":{number * len(text)},"count":5}}'
    )


def first_events(channel: int, at_ms: int) -> list[str]:
    common = {"taskId": f"t{channel}", "at": at_ms, "step": 0}
    queued = {
        "type": "queued",
        "attempt": 0,
        **common,
        "queueId": "paid_stream",
        "position": 0,
        "etaSeconds": None,
    }
    start = {"type": "start", "attempt": 1, **common, "templateId": "job_match", "queueId": "paid_stream"}
    return [json.dumps(queued), json.dumps(start)]
