"""What each task cost in Redis commands, counted at the server.

Valkey's MONITOR shows every command it runs with its arguments, and everything Sluice sends for a task
names the task in a key. So a command is a task's when it holds the task's id: what `actions` and the lanes
send, apart from what their scripts run inside the server. The bridge's XREAD serves all connections at
once, belongs to no single task and is counted apart.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import redis

from shared.state import keys
from shared.state.store import Store

_STOP = "sluice-demo-meter-stops"
_BRIDGE_COMMANDS = ("XREAD", "XRANGE")


@dataclass(slots=True)
class Commands:
    """Commands that name one task."""

    sent: int = 0
    in_scripts: int = 0
    bridge: int = 0


@dataclass(slots=True)
class _Seen:
    lines: list[tuple[bool, str]] = field(default_factory=list)


class CommandMeter:
    """Counts between entering and leaving; only for a Redis of one's own, since MONITOR slows it down."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._seen = _Seen()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="command meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The mark comes after everything that was sent before it, so that nothing is left uncounted.
        with redis.Redis.from_url(self._redis_url) as client:
            client.echo(_STOP)
        self._thread.join(timeout=10)

    def of(self, task_id: str) -> Commands:
        """Return what named this task."""
        counted = Commands()
        for in_script, line in self._seen.lines:
            if task_id not in line:
                continue
            if in_script:
                counted.in_scripts += 1
            elif _name(line) in _BRIDGE_COMMANDS:
                counted.bridge += 1
            else:
                counted.sent += 1
        return counted

    def bridge_reads(self, task_ids: Collection[str]) -> int:
        """Return how many reads the bridge sent for any of these tasks."""
        reads = (
            line for in_script, line in self._seen.lines if not in_script and _name(line) in _BRIDGE_COMMANDS
        )
        return sum(any(task_id in line for task_id in task_ids) for line in reads)

    def _listen(self) -> None:
        client: redis.Redis = redis.Redis.from_url(self._redis_url, socket_timeout=None)
        with client, client.monitor() as monitor:  # type: ignore[no-untyped-call]  # left so by redis-py
            self._ready.set()
            for event in monitor.listen():
                if _STOP in event["command"]:
                    return
                self._seen.lines.append((event["client_type"] == "lua", event["command"]))


def read_tokens(store: Store, task_id: str) -> int:
    """Return the tokens of all of a task's model calls, from the usage in its record."""
    flat = store.command("HGETALL", keys.task(task_id))
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    usages = [json.loads(value) for name, value in fields.items() if name.split(":")[0] == "usage"]
    return sum(int(usage["totalTokens"]) for usage in usages)


def _name(line: str) -> str:
    return line.split(" ", 1)[0].strip('"').upper()
