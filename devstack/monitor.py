"""What Redis runs, as its own log (MONITOR) tells it, while the context is open.

Only for a Redis of one's own: the log slows it down, and holds what users wrote.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import NamedTuple, Self

import redis

_STOP = "sluice-monitor-stops"


class Ran(NamedTuple):
    """One command, with its arguments, as the log spells them."""

    in_script: bool
    line: str

    @property
    def name(self) -> str:
        """Return the command's name in capitals."""
        return self.line.split(" ", 1)[0].strip('"').upper()


class Monitor:
    """A context manager that listens in a thread; `ran` is complete once the context is left."""

    def __init__(self, redis_url: str) -> None:
        self.ran: list[Ran] = []
        self._redis_url = redis_url
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="redis-monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The mark comes after everything that was sent before it, so that nothing is left out.
        with redis.Redis.from_url(self._redis_url) as client:
            client.echo(_STOP)
        self._thread.join(timeout=10)

    def _listen(self) -> None:
        client: redis.Redis = redis.Redis.from_url(self._redis_url, socket_timeout=None)
        with client, client.monitor() as monitor:  # type: ignore[no-untyped-call]  # left so by redis-py
            self._ready.set()
            for event in monitor.listen():
                if _STOP in event["command"]:
                    return
                self.ran.append(Ran(event["client_type"] == "lua", event["command"]))
