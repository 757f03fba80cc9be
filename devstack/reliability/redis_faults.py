"""Redis, or the way to it, fails under running tasks: nothing is lost, nor claimed unless it was stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from devstack.frontend import until
from devstack.proxy import RedisProxy
from devstack.reliability import redis_answers, redis_transitions
from devstack.reliability.midstream import again_and_again, in_mid_stream, proxy_of, settle
from devstack.reliability.redis_answers import refused_now
from devstack.reliability.subjects import STREAMED_MODEL, Started, Subject, all_at_once
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.reliability.verdict import TERMINAL
from devstack.stack import Stack
from devstack.valkey import EmbeddedValkey
from shared.state import keys
from shared.state.store import Store, TcpStore

DELAY_SECONDS = 0.15


# -- the network ---------------------------------------------------------------------------------------------


def run_cuts(stack: Stack, tally: Tally, effort: Effort) -> None:
    for _ in range(effort.rounds):
        tasks = in_mid_stream(stack)
        tally.faults += again_and_again(tasks, proxy_of(stack).cut_all)
        settle(stack, tally, tasks, attempts=[1])


def run_slow(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Delay each write and transition on both its ways; then let nothing through until the model ended."""
    proxy = proxy_of(stack)
    for _ in range(effort.rounds):
        for name in ("XADD", "claim_task", "renew_lease", "finish_task"):
            proxy.delay(name, seconds=DELAY_SECONDS, times=None)
            proxy.delay(name, seconds=DELAY_SECONDS, when="after", times=None)
        settle(stack, tally, in_mid_stream(stack))
        tasks = in_mid_stream(stack)
        proxy.stall()
        until(lambda: None if stack.llm.state["running"] else True, "the model to end, whatever Redis does")
        proxy.resume()
        settle(stack, tally, tasks)


def run_gone(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Be away until every attempt has given up: its call is closed, and another has the whole text."""
    for _ in range(effort.rounds):
        tasks = in_mid_stream(stack, kind="silence", after_pieces=5)
        proxy_of(stack).refuse()
        problems = refused_now(tasks[0].owner)
        for task in tasks:
            until(partial(stack.llm.closed_at, task.owner.user), "the call to be closed")
        claimed = [task.reader.types[-1] for task in tasks if task.reader.types[-1] != "token_batch"]
        if claimed:
            problems.append(Problem("wrong", f"with Redis away readers heard {claimed}"))
        proxy_of(stack).resume()
        tally.problems += problems
        settle(stack, tally, tasks, attempts=[1, 2])


# -- the server ----------------------------------------------------------------------------------------------


def run_restarts(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Restart Redis with its data: the scripts are gone. Then flush them, again and again."""
    with contextlib.closing(stack.open_store()) as store:
        for _ in range(effort.rounds):
            tasks = in_mid_stream(stack)
            stack.valkey.restart()
            settle(stack, tally, tasks, attempts=[1])
            tasks = in_mid_stream(stack)
            tally.faults += 1 + again_and_again(tasks, partial(store.command, "SCRIPT", "FLUSH"))
            settle(stack, tally, tasks, attempts=[1])


def run_failovers(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Fail over to a replica that was never told a script, under running tasks, and back."""
    with EmbeddedValkey() as other:
        for _ in range(effort.rounds):
            tasks = in_mid_stream(stack)
            _fail_over(proxy_of(stack), stack.valkey, other)
            running = in_mid_stream(stack)
            _fail_over(proxy_of(stack), other, stack.valkey)
            settle(stack, tally, [*tasks, *running], attempts=[1])


def _fail_over(proxy: RedisProxy, primary: EmbeddedValkey, replica: EmbeddedValkey) -> None:
    """Promote a replica that has all that its primary has; what is on its way meanwhile waits."""
    with _store(primary) as old, _store(replica) as new:
        old.command("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        new.command("REPLICAOF", "127.0.0.1", primary.port)
        until(lambda: True if _is_linked(new) else None, "the replica to be one")
        proxy.stall()
        assert old.command("WAIT", 1, 10_000) == 1
        new.command("REPLICAOF", "NO", "ONE")
        proxy.lead_to(replica.port)
        proxy.resume()


def _is_linked(replica: Store) -> bool:
    return "master_link_status:up" in replica.command("INFO", "replication")


@contextlib.contextmanager
def _store(server: EmbeddedValkey) -> Iterator[Store]:
    with contextlib.closing(TcpStore(server.url)) as store:
        yield store


def run_emptied(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Lose all data, as a restart of a Redis that keeps none does: nothing of it comes back, readers end."""
    with contextlib.closing(stack.open_store()) as store:
        for _ in range(effort.rounds):
            tasks = in_mid_stream(stack)
            store.pipeline([["FLUSHALL"], ["SCRIPT", "FLUSH"]])
            proxy_of(stack).cut_all()
            all_at_once(tally, [partial(_forgotten, task, store) for task in tasks])
            settle(stack, tally, [Subject(stack, "newcomer").prepared().start(streams=True)])


def _forgotten(task: Started, store: Store) -> list[Problem]:
    """D32: what is gone is not found, and nobody waits for it."""
    task_id = task.accepted["taskId"]
    ends = [kind for kind in task.reader.wait().types if kind in TERMINAL]
    found = task.owner.get(f"/tasks/{task_id}").status_code
    until(partial(_left_nothing, task, store), "the old attempt to end")
    return [] if (ends, found) == ([], 404) else [Problem("wrong", f"ends {ends}, found {found}")]


def _left_nothing(task: Started, store: Store) -> bool | None:
    """Tell whether the attempt has closed its call and brought nothing back."""
    stream = keys.events(task.owner.user, task.accepted["serviceId"], task.accepted["taskId"])
    left = store.command("EXISTS", keys.task(task.accepted["taskId"]), stream)
    return True if not left and not task.owner.stack.llm.state["running"] else None


SECTION = Section(
    name="redis_faults",
    promise="Each transition has the effect of once, whatever happens to Redis and to the way there, and"
    " nothing is claimed that was not stored.",
    stack={
        "proxied": True,
        "persistent": True,
        "overrides": {
            "LEASE_SECONDS": "2",
            "WORKER_TIMEOUT_SECONDS": "20",
            "MAX_WAIT_SECONDS_STREAM": "60",
            "MAX_WAIT_SECONDS_BATCH": "60",
            "MODEL_SLOTS": f'{{"{STREAMED_MODEL}:paid": 30, "deepseek-chat:paid": 30}}',
        },
        "first_token_ms": 50,
        "tokens_per_second": 80,
        "qstash_time_scale": 0.1,
    },
    trials=(
        *redis_transitions.TRIALS,
        Trial("Every connection cut, again and again, in mid-stream", run_cuts),
        Trial("Every write and reply delayed; the network stalled in mid-stream", run_slow),
        Trial("Redis gone in mid-stream for longer than the lease", run_gone),
        Trial("Restart with its data; scripts flushed again and again", run_restarts),
        Trial("Fail-over to a server that knows no script, and back", run_failovers),
        Trial("Restart without its data", run_emptied),
        redis_answers.TRIAL,
    ),
)
