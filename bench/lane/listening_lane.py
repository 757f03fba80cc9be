"""A lane as `functions/paid_stream/main.py` declares it, with a listener in the interpreter's collector.

    functions-framework --source bench/lane/listening_lane.py --target paid_stream

`GET /bench/pauses` answers the pauses since it was last asked, longest first, with their generation: in ms of
processor time, since what the machine does meanwhile is no doing of the collector's.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from typing import Any

import functions_framework
from flask import Request, Response

from shared.lanes.handler import lane_handler
from shared.routing import Lane

_handle = lane_handler(Lane.PAID_STREAM)
_pauses_ms: list[tuple[float, int]] = []
_begun = 0.0


def _listen(phase: str, info: dict[str, Any]) -> None:
    global _begun  # noqa: PLW0603 - the collector runs in one thread at a time
    if phase == "start":
        _begun = time.thread_time()
    else:
        _pauses_ms.append(((time.thread_time() - _begun) * 1000, info["generation"]))


gc.callbacks.append(_listen)


@functions_framework.http
def paid_stream(request: Request) -> Response:
    if request.path != "/bench/pauses":
        return _handle(request)
    warm = all(thread.name != "warm" for thread in threading.enumerate())
    pauses, _pauses_ms[:] = sorted(_pauses_ms, reverse=True), []
    answer = {"warm": warm, "collecting": gc.isenabled(), "frozen": gc.get_freeze_count(), "pauses": pauses}
    return Response(json.dumps(answer), mimetype="application/json")
