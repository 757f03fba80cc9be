"""Matches in mid-stream while something happens to Redis, and what must hold when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from devstack.frontend import until
from devstack.proxy import RedisProxy
from devstack.reliability.subjects import Started, Subject, all_at_once
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.verdict import TERMINAL, at_rest
from devstack.stack import Stack

AT_ONCE = 3
"""Tasks under way when it happens."""


def in_mid_stream(stack: Stack, count: int = AT_ONCE, **fault: Any) -> list[Started]:
    """Start so many matches and read each up to its first words; `fault` is what the model does then."""

    def start(_: int) -> Started:
        subject = Subject(stack, "redis").prepared()
        if fault:
            subject.fails(streams=True, **fault)
        task = subject.start(streams=True)
        task.reader.wait_for("token_batch")
        return task

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def done(task: Started, attempts: list[int] | None = None) -> list[Problem]:
    problems = task.examine(said=task.owner.text)
    if attempts is not None and task.attempts != attempts:
        problems.append(Problem("wrong", f"attempts {task.attempts}, not {attempts}"))
    return problems


def settle(stack: Stack, tally: Tally, tasks: Sequence[Started], attempts: list[int] | None = None) -> None:
    all_at_once(tally, [partial(done, task, attempts) for task in tasks])
    heal(stack, tally)


def heal(stack: Stack, tally: Tally) -> None:
    """Disarm every fault, and see that the stack comes to rest."""
    proxy_of(stack).heal()
    stack.llm.heal()
    tally.problems += at_rest(stack)


def again_and_again(tasks: Sequence[Started], happens: Callable[[], object]) -> int:
    """Let it happen after each event that a reader sees, until all have seen their last."""
    times, seen = 0, _events(tasks)
    while not all(task.reader.types[-1] in TERMINAL for task in tasks):
        happens()
        times += 1
        until(partial(_more_than, seen, tasks), "the next event")
        seen = _events(tasks)
    return times


def _events(tasks: Sequence[Started]) -> int:
    return sum(len(task.reader.events) for task in tasks)


def _more_than(seen: int, tasks: Sequence[Started]) -> bool | None:
    return True if _events(tasks) > seen else None


def proxy_of(stack: Stack) -> RedisProxy:
    assert stack.proxy is not None
    return stack.proxy
