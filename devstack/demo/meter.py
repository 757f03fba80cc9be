"""What each task cost in Redis commands, counted at the server.

Valkey's MONITOR shows every command it runs with its arguments, and everything Sluice sends for a task
names the task in a key. So a command is a task's when it holds the task's id: what `actions` and the lanes
send, apart from what their scripts run inside the server. The bridge's XREAD serves all connections at
once, belongs to no single task and is counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from devstack.monitor import Monitor
from shared.state import keys
from shared.state.store import Store

_BRIDGE_COMMANDS = ("XREAD", "XRANGE")


@dataclass(slots=True)
class Commands:
    """Commands that name one task."""

    sent: int = 0
    in_scripts: int = 0
    bridge: int = 0


class CommandMeter(Monitor):
    """Counts between entering and leaving; only for a Redis of one's own, since MONITOR slows it down."""

    def of(self, task_id: str) -> Commands:
        """Return what named this task."""
        counted = Commands()
        for ran in self.ran:
            if task_id not in ran.line:
                continue
            if ran.in_script:
                counted.in_scripts += 1
            elif ran.name in _BRIDGE_COMMANDS:
                counted.bridge += 1
            else:
                counted.sent += 1
        return counted

    def bridge_reads(self, task_ids: Collection[str]) -> int:
        """Return how many reads the bridge sent for any of these tasks."""
        reads = (ran.line for ran in self.ran if not ran.in_script and ran.name in _BRIDGE_COMMANDS)
        return sum(any(task_id in line for task_id in task_ids) for line in reads)


def read_tokens(store: Store, task_id: str) -> int:
    """Return the tokens of all of a task's model calls, from the usage in its record."""
    flat = store.command("HGETALL", keys.task(task_id))
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    usages = [json.loads(value) for name, value in fields.items() if name.split(":")[0] == "usage"]
    return sum(int(usage["totalTokens"]) for usage in usages)
