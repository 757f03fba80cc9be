"""`scripts/sluice` as an operator runs it: what it shows is what is there, and no text of anybody is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.upstash.server import UpstashStandIn
from shared.routing import CREATE_SERVICE_IMAGE, CUSTOMIZE_RESUME, Lane, Template
from shared.state import keys
from shared.state.lifecycle import Finished
from shared.state.store import Store
from shared.stream.events import Done, StepResult, TokenBatch, encode
from tests.integration.tool_kit import Ran, call
from tests.integration.transitions_kit import Bench, Job, events_key

ROOT = Path(__file__).parents[2]
ADVERTISEMENT = "the-user's-own-words"
ANSWER = "what-the-model-said"
Sluice = Callable[..., Ran]


@pytest.fixture(params=["tcp", "rest"])
def way(request: pytest.FixtureRequest, redis_url: str) -> Iterator[dict[str, str]]:
    """The variables of either way to Redis."""
    if request.param == "tcp":
        yield {"REDIS_URL": redis_url}
        return
    with UpstashStandIn(redis_url, token="a-token") as stand_in:
        yield {"UPSTASH_REDIS_REST_URL": stand_in.url, "UPSTASH_REDIS_REST_TOKEN": "a-token"}


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


@pytest.fixture
def sluice() -> Sluice:
    """The program, called in this process."""
    return call


def said(bench: Bench, job: Job, attempt: Any, n: int, text: str) -> None:
    """Store a batch as the merging writer does."""
    event = TokenBatch(step=attempt.step, text=text, offset=0, count=2)
    told = encode(event, task_id=job.ref.task_id, attempt=attempt.number, at_ms=bench.now_ms())
    bench.store.command("XADD", events_key(job), f"{attempt.epoch}-{n}", "e", told)


def done(bench: Bench, attempt: Any) -> None:
    event = Done(result={"text": ANSWER}, usage={"totalTokens": 3}, latency_ms=1200, text_length=len(ANSWER))
    told = encode(event, task_id=attempt.ref.task_id, attempt=attempt.number, at_ms=bench.now_ms())
    assert bench.tasks.finish(attempt, Finished(told, {"text": ANSWER}, {"totalTokens": 3})) == "done"


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_counts_what_waits_runs_and_is_open(bench: Bench, sluice: Sluice, way: dict[str, str]) -> None:
    waiting, running = bench.admit("u1"), bench.admit("u2", CREATE_SERVICE_IMAGE)
    attempt = bench.run(running)
    bench.make_overdue(waiting)
    view = sluice("status", "--json", **way).json
    used = {lane["lane"]: lane["places_used"] for lane in view["lanes"]}
    assert used == {"paid_stream": 2, "paid_vision": 1, "paid_batch": 0, "free_stream": 0, "free_batch": 0}
    holders = {slot["model"]: slot["holders"] for slot in view["slots"] if slot["holders"]}
    ((model, (holder,)),) = holders.items()
    assert (model, holder["task_id"], holder["step"]) == (attempt.model, running.ref.task_id, 0)
    assert 0 < holder["lease_ms"] <= 30_000
    assert (view["open_tasks"], view["overdue_tasks"]) == (2, 1)


def test_a_lapsed_lease_is_no_used_slot(bench: Bench, sluice: Sluice, redis_url: str) -> None:
    bench.lapse(bench.run(bench.admit()))
    view = sluice("status", "--json", REDIS_URL=redis_url).json
    assert [slot for slot in view["slots"] if slot["holders"]] == []


def test_status_says_how_old_the_oldest_is_and_how_fast_a_lane_drains(
    bench: Bench, sluice: Sluice, redis_url: str
) -> None:
    for _ in range(3):
        bench.finish(bench.run(bench.admit()))
    job = bench.admit()
    bench.store.command("ZADD", keys.queue(Lane.PAID_STREAM), bench.now_ms() - 65_000, f"{job.ref.task_id}:0")
    lanes = {lane["lane"]: lane for lane in sluice("status", "--json", REDIS_URL=redis_url).json["lanes"]}
    assert 65_000 <= lanes["paid_stream"]["oldest_ms"] < 125_000
    assert lanes["paid_stream"]["interval_ms"] > 0
    assert (lanes["free_stream"]["oldest_ms"], lanes["free_stream"]["interval_ms"]) == (None, None)
    assert "1 min" in sluice("status", REDIS_URL=redis_url).out


def test_status_for_people_names_overdue_tasks_and_holds_no_control_characters(
    bench: Bench, sluice: Sluice, redis_url: str
) -> None:
    bench.make_overdue(bench.admit())
    out = sluice("status", REDIS_URL=redis_url).out
    assert "1 open task, 1 beyond their deadline" in out
    assert "\x1b" not in out


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_tasks_lists_open_ones_by_deadline_and_none_that_has_ended(
    bench: Bench, sluice: Sluice, way: dict[str, str]
) -> None:
    first, second, ended = bench.admit("u1"), bench.admit("u2"), bench.admit("u1")
    bench.run(second)
    bench.cancel(ended)
    bench.make_overdue(second)
    listed = sluice("tasks", "--json", **way)
    tasks = json.loads(listed.out)
    assert [task["task_id"] for task in tasks] == [second.ref.task_id, first.ref.task_id]
    assert [(task["state"], task["attempt"], task["left_ms"] < 0) for task in tasks] == [
        ("running", 1, True),
        ("queued", 0, False),
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--user", "u1"), ["text", "image"]),
        (("--user", "u2"), ["other"]),
        (("--user", "nobody"), []),
        (("--lane", "paid_vision"), ["image"]),
        (("--state", "running"), ["other"]),
        (("--user", "u1", "--lane", "paid_stream", "--state", "queued"), ["text"]),
        (("--limit", "0"), []),
    ],
    ids=str,
)
def test_tasks_of_one_user_lane_or_state(
    bench: Bench, sluice: Sluice, redis_url: str, filters: tuple[str, ...], expected: list[str]
) -> None:
    jobs = {
        "text": bench.admit("u1"),
        "image": bench.admit("u1", CREATE_SERVICE_IMAGE),
        "other": bench.admit("u2"),
    }
    bench.run(jobs["other"])
    listed = json.loads(sluice("tasks", "--json", *filters, REDIS_URL=redis_url).out)
    assert {task["task_id"] for task in listed} == {jobs[name].ref.task_id for name in expected}


def test_tasks_says_how_many_it_left_out(bench: Bench, sluice: Sluice, redis_url: str) -> None:
    for _ in range(3):
        bench.admit()
    assert "2 more; --limit 3 shows all." in sluice("tasks", "--limit", "1", REDIS_URL=redis_url).out


@pytest.mark.parametrize("user", ["[/red]", "[bold]ann", ":smile:"])
def test_an_id_that_looks_like_markup_is_shown_as_it_is(
    bench: Bench, sluice: Sluice, redis_url: str, user: str
) -> None:
    job = bench.admit(user)
    assert user in sluice("tasks", REDIS_URL=redis_url).out
    assert user in sluice("task", job.ref.task_id, REDIS_URL=redis_url).out


def test_no_task_is_said(sluice: Sluice, redis_url: str) -> None:
    assert sluice("tasks", REDIS_URL=redis_url) == Ran(0, "No open task.\n", "")


# -- one task --------------------------------------------------------------------------------------------------------


def a_whole_life(bench: Bench) -> Job:
    """A task that was claimed, failed, was claimed again, and ended well."""
    job = bench.admit("ann", service_fields={"jobText": json.dumps(ADVERTISEMENT)})
    first = bench.run(job)
    said(bench, job, first, 1, "wrong")
    bench.release(first)
    second = bench.run(job)
    for n in (1, 2, 3):
        said(bench, job, second, n, ANSWER)
    done(bench, second)
    return job


def test_a_task_s_story_is_told_in_order(bench: Bench, sluice: Sluice, way: dict[str, str]) -> None:
    job = a_whole_life(bench)
    story = sluice("task", job.ref.task_id, "--json", **way).json
    assert [moment["what"] for moment in story["moments"]] == [
        *("debit", "queued", "start", "text", "retrying", "start", "text", "done"),
    ]
    assert story["moments"][0]["facts"] == {"coins": -2, "balance": 6}
    text = story["moments"][6]["facts"]
    assert (text["attempt"], text["batches"], text["tokens"]) == (2, 3, 6)
    assert text["characters"] == 3 * len(ANSWER)
    assert (story["record"]["state"], story["record"]["userId"], story["whole"]) == ("done", "ann", True)


def test_a_story_tells_what_each_step_used(bench: Bench, sluice: Sluice, redis_url: str) -> None:
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    done_step = bench.run(job)
    used = {
        "promptTokens": 900,
        "completionTokens": 100,
        "cachedTokens": 512,
        "cost": 0.0024,
        "currency": "CNY",
    }
    event = StepResult(step=0, template_id=Template.JOB_VISION_SUMMARY, data={})
    told = encode(event, task_id=job.ref.task_id, attempt=1, at_ms=bench.now_ms())
    bench.tasks.finish(done_step, Finished(told, {}, {**used, "ttftMs": 321}))
    bench.tasks.release(
        bench.run(job, step=1),
        code="c",
        message="m",
        retry_after_seconds=1,
        usage={**used, "cachedTokens": 0},
    )
    story = sluice("task", job.ref.task_id, "--json", REDIS_URL=redis_url).json
    assert story["record"]["usage"] == [
        "step 0: 900 tokens in (512 cached), 100 out, 0.0024 CNY, first text after 321 ms",
        "step 1, attempts that were repeated: 900 tokens in, 100 out, 0.0024 CNY",
    ]


def test_a_story_holds_no_text_of_the_user_s_or_the_model_s(
    bench: Bench, sluice: Sluice, redis_url: str
) -> None:
    job = a_whole_life(bench)
    for form in ((), ("--json",)):
        out = sluice("task", job.ref.task_id, *form, REDIS_URL=redis_url).out
        assert job.ref.task_id in out
        assert ADVERTISEMENT not in out
        assert ANSWER not in out
        assert "words" not in out, "the task's input"


def test_a_task_that_never_ran_and_one_that_was_given_back_tell_so(
    bench: Bench, sluice: Sluice, redis_url: str
) -> None:
    waiting, failed = bench.admit("ann"), bench.admit("ann")
    bench.fail(bench.run(failed))
    told = sluice("task", waiting.ref.task_id, REDIS_URL=redis_url).out
    assert "queued" in told
    assert "position" in told
    story = sluice("task", failed.ref.task_id, "--json", REDIS_URL=redis_url).json
    assert {moment["what"] for moment in story["moments"]} == {"debit", "queued", "start", "error", "refund"}
    assert story["record"]["errorCode"] == "provider_refused"


def test_another_task_s_coins_are_not_in_a_story(bench: Bench, sluice: Sluice, redis_url: str) -> None:
    job, _other = bench.admit("ann"), bench.admit("ann", CUSTOMIZE_RESUME)
    story = sluice("task", job.ref.task_id, "--json", REDIS_URL=redis_url).json
    assert [m["what"] for m in story["moments"]].count("debit") == 1


@pytest.mark.parametrize("left", ["a part", "nothing"])
def test_a_story_whose_events_are_gone_says_so(
    bench: Bench, sluice: Sluice, redis_url: str, left: str
) -> None:
    job = a_whole_life(bench)
    if left == "nothing":
        bench.store.command("DEL", events_key(job))
    else:
        bench.store.command("XTRIM", events_key(job), "MAXLEN", 2)
    ran = sluice("task", job.ref.task_id, REDIS_URL=redis_url)
    assert ran.status == 0
    assert "not all there" in ran.out


def test_a_task_that_is_not_there_is_1(sluice: Sluice, redis_url: str) -> None:
    ran = sluice("task", "nobody", REDIS_URL=redis_url)
    assert (ran.status, ran.out) == (1, "")
    assert "there is no task nobody" in ran.err


# -- limits, and what goes wrong -------------------------------------------------------------------------------------


def test_limits_are_those_of_the_environment_with_the_variable_that_sets_each(sluice: Sluice) -> None:
    ran = sluice(
        "limits",
        "--json",
        MODEL_SLOTS='{"deepseek-chat:paid": 8}',
        QUEUE_MAX_PAID_BATCH="7",
        GLM_MAX_WORKERS="4",
    )
    limits = {
        limit["what"]: (limit["value"], limit["default"], limit["variable"]) for limit in json.loads(ran.out)
    }
    assert limits["slots of deepseek-chat:paid"] == (8, 5, "MODEL_SLOTS")
    assert limits["slots of deepseek-reasoner:paid"] == (5, 5, "DEEPSEEK_MAX_WORKERS")
    assert limits["slots of glm-4.5-flash:free"] == (4, 2, "GLM_MAX_WORKERS")
    assert limits["places of paid_batch"] == (7, 100, "QUEUE_MAX_PAID_BATCH")
    assert limits["places of free_batch"] == (20, 20, "QUEUE_MAX_SIZE")


@pytest.mark.parametrize(
    "command", [("status",), ("tasks",), ("task", "t1"), ("reconcile",), ("quota", "show", "u")]
)
def test_without_redis_every_command_says_so_and_is_3(sluice: Sluice, command: tuple[str, ...]) -> None:
    ran = sluice(*command, REDIS_URL="redis://127.0.0.1:1")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith(f"{command[0]}: Redis: ")


@pytest.mark.parametrize("command", [("status",), ("tasks",), ("task", "t1"), ("reconcile",)])
def test_without_configuration_every_command_names_what_is_missing_and_is_2(
    sluice: Sluice, command: tuple[str, ...]
) -> None:
    ran = sluice(*command)
    assert (ran.status, ran.out) == (2, "")
    assert "REDIS_URL" in ran.err


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        ((), "scripts/sluice [-h] COMMAND"),
        (("nothing",), "scripts/sluice [-h] COMMAND"),
        (("status", "now"), "scripts/sluice status"),
        (("status", "--every", "0"), "scripts/sluice status"),
        (("tasks", "--lane", "fast"), "scripts/sluice tasks"),
        (("tasks", "--user", "a\nb"), "scripts/sluice tasks"),
        (("task",), "scripts/sluice task"),
        (("task", "a", "b"), "scripts/sluice task"),
    ],
    ids=str,
)
def test_wrong_usage_is_2_and_shows_the_command_s_own(
    sluice: Sluice, redis_url: str, arguments: tuple[str, ...], usage: str
) -> None:
    ran = sluice(*arguments, REDIS_URL=redis_url)
    assert (ran.status, ran.out) == (2, "")
    assert f"usage: {usage}" in ran.err


def test_watching_shows_it_again_until_it_is_ended(redis_url: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "sluice"),
        "status",
        "--watch",
        "--every",
        "0.1",
        "--json",
    ]
    with subprocess.Popen(
        command, env={"REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True
    ) as watching:
        try:
            assert watching.stdout is not None
            first, second = (json.loads(watching.stdout.readline())["at_ms"] for _ in range(2))
            assert second > first
            watching.terminate()  # as Ctrl-C, which a shell's background job would ignore
            assert watching.wait(30) == 0
        finally:
            watching.kill()
