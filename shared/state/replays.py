"""A failed task and the task that takes its place: which one that is, and how their records name each other.

The new task's id follows from the old one's, so that however often and however many at once replay a task,
they all admit the same one. `replayedAs` in the old record and `replayOf` in the new one are ids, and live as
long as the records.
"""

from __future__ import annotations

import hashlib

from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store

REPLAYED_AS = "replayedAs"
REPLAY_OF = "replayOf"
_ID_CHARACTERS = 32


def successor_id(task_id: str) -> str:
    """Return the id of the one task that takes the place of `task_id`."""
    return hashlib.sha256(f"replay of {task_id}".encode()).hexdigest()[:_ID_CHARACTERS]


def link(store: Store, task_id: str, new_task_id: str) -> bool:
    """Note in both records that one takes the other's place; False when the old record is gone."""
    named = [keys.task(task_id), keys.task(new_task_id)]
    return bool(store.script(load_script("link_replay"), named, [task_id, new_task_id]) == "linked")
