"""Off, which is the default, telemetry loads nothing, keeps nothing, and costs a handful of calls for a task."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from devstack.environment import WITHOUT_FOLDER
from shared.actions import observing as actions
from shared.lanes import observing
from shared.llm.observing import asked
from shared.llm.prompts import TemplateCall
from shared.llm.reader import Reader
from shared.messages import parse_message
from shared.routing import Lane, Model, Template, Tier
from shared.settings import ProviderSettings
from shared.state.keys import TaskRef
from shared.state.lifecycle import Attempt, Claim
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.beginning import begin
from shared.telemetry.signals import NOBODYS, Signals, signals
from shared.telemetry.spans import ADMIT, CLAIM, FINISH
from tests.integration.test_counts_modules import _ENVIRON

ROOT = Path(__file__).parents[3]
OUTER = ("exporter", "exporter.otlp", "exporter.otlp.proto")
"""Folders that are looked into to find out whether the packages are there."""
MESSAGE = {
    "v": 1, "taskId": "t", "serviceId": "s", "userId": "u", "templateId": "resume_summary", "step": 0, "queueId": "paid_batch",
    "modelId": "deepseek-chat", "tier": "paid", "counterKey": "k", "locale": "en", "retries": 3, "enqueuedAt": 1,
}  # fmt: skip
ATTEMPT = Attempt(
    TaskRef("t", "s", "u"), 0, 1, "1", "h", Model.DEEPSEEK_CHAT, Tier.PAID, Lane.PAID_BATCH, "en", 1, {}
)
CALL = TemplateCall(Template.RESUME_SUMMARY, Model.DEEPSEEK_CHAT, "en", {}, None)  # type: ignore[arg-type]
PROVIDER = ProviderSettings("https://provider.example", api_key="unused")


def a_task_in_a_lane() -> None:
    """All that a lane says of one delivery that runs to its end, but for the work itself."""
    message = parse_message(json.dumps(MESSAGE).encode())
    with observing.delivery(message, "m", 1) as tell:
        with signals().span(CLAIM) as span:
            observing.claim(span, message, Claim("claimed", attempt=ATTEMPT))
        with observing.attempt(ATTEMPT, 5) as tell_attempt:
            with asked(CALL, PROVIDER, Reader(print, lambda: None, 1)):
                pass
            observing.first_token(ATTEMPT, 5)
            with observing.ending(FINISH) as came_to:
                came_to("done")
            tell_attempt(200, {"status": "done"})
        tell(200, {"status": "done"})


def calls_of(work: Callable[[], None]) -> int:
    """Count the functions of Python that are called for `work` in the rooms that observe."""
    calls = 0

    def count(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal calls
        name = frame.f_code.co_filename
        if event == "call" and ("/telemetry/" in name or name.endswith("observing.py")):
            calls += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_off_every_span_is_the_same_one() -> None:
    assert type(signals()) is Signals
    assert signals().span(CLAIM) is signals().span(FINISH, attributes={Attribute.OUTCOME: "x"}) is NOBODYS
    with signals().span(CLAIM) as span:
        assert (span, span.traceparent) == (NOBODYS, None)


def test_off_a_whole_delivery_is_few_calls() -> None:
    a_task_in_a_lane()
    assert calls_of(a_task_in_a_lane) <= 40


def a_task_in_actions() -> None:
    """All that `actions` says of a task that is accepted and published, and of the callback of its step."""
    message = parse_message(json.dumps(MESSAGE).encode())
    with actions.action("upload-resume", None) as span:
        actions.accepted(span, {"taskId": "t"})
        with signals().span(ADMIT):
            pass
        with actions.publish(Lane.PAID_BATCH, "t.0.1", "https://qstash.example", None) as publish:
            assert publish.traceparent is None
    with actions.callback("step", message) as span:
        actions.decided("/callbacks/step", span, "published")


def test_off_an_accepted_task_is_few_calls() -> None:
    a_task_in_actions()
    assert calls_of(a_task_in_actions) <= 30


def test_off_nothing_that_is_said_is_kept() -> None:
    a_task_in_a_lane()
    gc.collect()
    tracemalloc.start(1)
    try:
        before = tracemalloc.take_snapshot()
        for _ in range(50):
            a_task_in_a_lane()
        gc.collect()
        grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    finally:
        tracemalloc.stop()
    kept = {
        str(each.traceback): each.size_diff
        for each in grown
        if "/telemetry/" in str(each.traceback) or "observing" in str(each.traceback)
    }
    assert all(size <= 1024 for size in kept.values()), kept


def test_off_a_store_is_not_watched() -> None:
    store = object()
    assert signals().watched(store) is store


def test_without_settings_nothing_begins() -> None:
    begin(None, "paid_batch")
    assert type(signals()) is Signals
    signals().add(instruments.SWEPT)
    signals().settle()


_LOADED = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="main")
for name in sys.argv[2:]:
    __import__(name)
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def loaded(function: str, *modules: str, path: str = str(ROOT), **environ: str) -> set[str]:
    """Return what a function's process has of OpenTelemetry, once it has these modules too."""
    main = ROOT / "functions" / function / "main.py"
    ran = subprocess.run(
        [sys.executable, "-c", _LOADED, str(main), *modules],
        env={**_ENVIRON, "PATH": "", "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    ("function", "module"),
    [
        ("paid_stream", "shared.lanes.worker"),
        ("actions", "shared.actions.app"),
        ("events", "shared.stream.bridge"),
    ],
)
def test_off_a_function_does_without_opentelemetry_where_it_is_not_installed(
    function: str, module: str
) -> None:
    assert loaded(function, module, path=f"{WITHOUT_FOLDER}:{ROOT}") == set()


def test_a_function_that_is_to_send_and_cannot_does_not_start_and_says_why() -> None:
    with pytest.raises(
        AssertionError, match=r"paid_stream does not start: .* OpenTelemetry is not installed"
    ):
        loaded(
            "paid_stream", path=f"{WITHOUT_FOLDER}:{ROOT}", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"
        )


def test_on_nothing_that_sends_is_loaded_before_the_web_server_s_fork() -> None:
    """A thread that sends would not survive the fork, and its locks would stay held."""
    names = loaded("paid_stream", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert names <= {"opentelemetry", "opentelemetry.sdk", *(f"opentelemetry.{name}" for name in OUTER)}
