"""Databases of the sizes that are compared: places, slots, tasks that have ended, tasks of one user.

One task goes the real way; the crowd are copies of what it left, made inside Redis, because a hundred
thousand real ones would take longer than all that is measured.
"""

from __future__ import annotations

from bench.growth.lanes import LaneOfTasks, Waiting
from shared.routing import Lane
from shared.state import keys
from shared.state.store import Script

PER_CALL = 1_000
_COPIES = Script(
    "copy_tasks",
    """
-- KEYS 1 a task's record, 2 its stream, 3 tasks:open, 4 the queue
-- ARGV 1 first number, 2 last number, 3 whether they are open (1 or 0), 4 the task's id
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = 'copy-' .. i
  redis.call('COPY', KEYS[1], 'task:' .. id)
  redis.call('COPY', KEYS[2], 'cs:events:user-' .. i .. ':service-' .. i .. ':' .. id)
  if ARGV[3] == '1' then
    redis.call('HSET', 'task:' .. id, 'taskId', id)
    redis.call('ZADD', KEYS[3], redis.call('ZSCORE', KEYS[3], ARGV[4]), id)
    redis.call('ZADD', KEYS[4], redis.call('ZSCORE', KEYS[4], ARGV[4] .. ':0'), id .. ':0')
    redis.call('SADD', 'user:user-' .. i .. ':active', id)
  end
end
""",
)


def take_places(lane: LaneOfTasks, places: int) -> None:
    """Let so many tasks wait that nobody runs."""
    _copy(lane, lane.admit(), places - 1, are_open=True)


def hold_slots(lane: LaneOfTasks, slots: int) -> None:
    """Let so many attempts run, all of them real."""
    for _ in range(slots):
        lane.claim(lane.admit())


def keep_ended(lane: LaneOfTasks, tasks: int) -> None:
    """Keep so many ended tasks with their streams."""
    model = lane.admit()
    lane.finish(lane.claim(model), "A sentence of eight words, as in answers. " * 10)
    _copy(lane, model, tasks - 1, are_open=False)


def have_ended(lane: LaneOfTasks, user: str, tasks: int) -> None:
    """Let one user have had so many tasks, all of them real: their names are what a deletion goes by."""
    for _ in range(tasks):
        lane.finish(lane.claim(lane.admit(user)))


def _copy(lane: LaneOfTasks, model: Waiting, copies: int, *, are_open: bool) -> None:
    ref = model.ref
    named = [
        keys.task(ref.task_id),
        keys.events(ref.user_id, ref.service_id, ref.task_id),
        keys.OPEN_TASKS,
        keys.queue(Lane.PAID_STREAM),
    ]
    for first in range(0, copies, PER_CALL):
        last = min(first + PER_CALL, copies) - 1
        lane.store.script(_COPIES, named, [first, last, int(are_open), ref.task_id])
