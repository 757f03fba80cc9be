"""The demo's judgement: it must see what is wrong, or its proof proves nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from devstack.demo.client import Frame, parse_frames
from devstack.demo.material import draw, sample
from devstack.demo.meter import CommandMeter, read_tokens
from devstack.demo.proof import Check
from devstack.demo.report import LaneRow, Report, TaskRow, write_markdown
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words
from shared.state.store import Store


def tracked(*events: tuple[str, dict[str, Any]]) -> Tracked:
    task = Tracked("Match", {"taskId": "t1", "serviceId": "s1", "isFree": False}, sent_at=10.0)
    for number, (kind, data) in enumerate(events):
        task.apply(Frame(f"{number}-0", kind, data), now=11.0 + number)
    return task


def start(attempt: int = 1, step: int = 0) -> tuple[str, dict[str, Any]]:
    lane = "paid_stream"
    return "start", {"step": step, "templateId": "job_match", "queueId": lane, "attempt": attempt}


def text(text: str, offset: int, step: int = 0) -> tuple[str, dict[str, Any]]:
    return "token_batch", {"step": step, "text": text, "offset": offset}


def test_frames_are_read_with_heartbeats_between_them() -> None:
    lines = ["retry: 100", "", ": hb", "", "id: 5-1", "event: done", 'data: {"result": 1}', "", "id: 5-2"]
    assert list(parse_frames(iter(lines))) == [Frame("5-1", "done", {"result": 1})]


def test_text_is_what_the_batches_say_in_code_points() -> None:
    task = tracked(start(), text("你好", 0), text("👋", 2), text("!", 3))
    assert (task.text, task.problems) == ("你好👋!", [])


@pytest.mark.parametrize("offset", [1, 3])
def test_a_lost_or_doubled_batch_is_a_problem(offset: int) -> None:
    """D29: the reader of the stream notices."""
    assert tracked(start(), text("ab", 0), text("cd", offset)).problems


def test_a_second_attempt_starts_its_text_anew() -> None:
    task = tracked(start(), text("lost", 0), start(attempt=2), text("kept", 0))
    assert (task.text, task.problems, task.attempt, task.dropped_characters) == ("kept", [], 2, 4)


@pytest.mark.parametrize(
    ("said", "score"),
    [("score: 92\n", 92), ("score: 9", None), ("score: high\n", None), ("Overall\nscore: 9\n", None)],
)
def test_the_score_is_known_once_the_first_line_is_whole_and_says_one(said: str, score: int | None) -> None:
    assert tracked(start(), text(said, 0)).score == score


def test_the_first_text_is_counted_from_the_request_and_an_empty_batch_is_none() -> None:
    task = tracked(start(), text("", 0), text("a", 0), text("b", 1))
    assert task.first_text_seconds == 3.0


def test_the_lanes_of_a_task_are_those_of_its_steps() -> None:
    queued = [
        ("queued", {"step": n, "queueId": q, "position": 0})
        for n, q in ((0, "paid_vision"), (1, "paid_stream"))
    ]
    assert tracked(*queued).lanes == ["paid_vision", "paid_stream"]


def test_the_meter_counts_a_task_s_commands_and_leaves_its_scripts_and_the_bridge_apart(
    store: Store, redis_url: str
) -> None:
    store.command("HSET", "task:warm", "a", 1)
    script = "redis.call('GET', KEYS[1]) redis.call('GET', 'other') return redis.call('GET', KEYS[1])"
    with CommandMeter(redis_url) as meter:
        store.command("HSET", "task:one", "a", 1)
        store.command("HSET", "task:two", "a", 1)
        store.command("EVAL", script, 1, "task:one:x")
        store.command("XREAD", "STREAMS", "cs:events:u:s:one", "cs:events:u:s:two", "0", "0")
    counted = meter.of(":one")
    assert (counted.sent, counted.in_scripts, counted.bridge) == (2, 2, 1)
    assert meter.bridge_reads([":one", ":two"]) == 1


def test_the_tokens_of_all_steps_are_added_up(store: Store) -> None:
    store.command(
        "HSET", "task:t", "usage:0", '{"totalTokens": 10}', "usage", '{"totalTokens": 5}', "state", "done"
    )
    assert read_tokens(store, "t") == 15


@pytest.mark.parametrize("held", [True, False])
def test_a_claim_that_does_not_hold_makes_the_whole_report_say_so(held: bool, tmp_path: Path) -> None:
    checks = [Check("a", True, "fine"), Check("b", held, "found | this", "the log")]
    report = Report([TaskRow(*"tlmaftoco")], [LaneRow("l", "1", "2")], ["note"], checks, [], seconds=3.0)
    write_markdown(report, Words("en"), tmp_path / "log" / "acceptance.md")
    log = (tmp_path / "log" / "acceptance.md").read_text()
    assert report.held is held
    assert ("NOT all of it held: 1 of 2" in log) is not held
    assert ("| NO | b | found \\| this | the log |" in log) is not held


def test_a_report_without_a_proof_does_not_hold() -> None:
    assert not Report([], [], [], [], [], seconds=0.0).held


def test_an_advertisement_is_drawn_as_a_png_that_shows_every_line() -> None:
    image = Image.open(io.BytesIO(draw(sample("job-image.en"))))
    lines = len(sample("job-image.en").strip().splitlines())
    assert image.format == "PNG"
    assert image.height > lines * 20


@pytest.mark.parametrize(
    "name", ["resume.en", "resume.zh", "history.en", "history.zh", "job.en", "job.zh", "job-image.en"]
)
def test_every_sample_is_within_the_limits_of_its_template(name: str) -> None:
    assert 200 < len(sample(name)) <= 5000
