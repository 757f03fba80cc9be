"""What a log line may say, and how."""

from __future__ import annotations

import io
import json
import logging
import math
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from shared.discretion import frames_of
from shared.errors import RetryableTaskError, StoreUnavailable
from shared.log_lines import NOT_SHOWN, shown
from shared.logs import SERVERS, LogEvent, bind, carried, event, set_up_logs, trace_facts
from shared.settings import LogFormat, LogSettings
from tests.logs_kit import JSON, Log, logging_to

SECRET = "thirty years of my life"
log = logging.getLogger("shared.test")


@pytest.fixture
def logged() -> Iterator[Log]:
    with logging_to(Log()) as out:
        yield out


def test_an_exceptions_text_is_not_logged_and_its_frames_are(logged: Log) -> None:
    """Pydantic's error quotes the input."""
    try:
        TypeAdapter(int).validate_python(SECRET)
    except ValueError:
        logging.getLogger("shared.lanes.worker").exception("attempt %s failed", "t1.0.1")
    assert SECRET not in logged.getvalue()
    line = logged.line()
    assert (line["severity"], line["logger"]) == ("ERROR", "shared.lanes.worker")
    assert line["message"] == "attempt t1.0.1 failed"
    assert line["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert "in test_an_exceptions_text_is_not_logged_and_its_frames_are" in line["stack_trace"]
    assert line["stack_trace"].endswith("ValidationError")


def test_of_a_chain_of_exceptions_only_our_own_texts_are_logged() -> None:
    def fail() -> None:
        try:
            json.loads(SECRET)
        except ValueError as error:
            raise StoreUnavailable("Redis is away.") from error

    with pytest.raises(StoreUnavailable) as raised:
        fail()
    outer = RuntimeError(SECRET)
    outer.__cause__ = raised.value
    told = frames_of(outer)
    assert SECRET not in told
    assert (
        told.index("JSONDecodeError") < told.index("StoreUnavailable: Redis is away.") < told.index("Runtime")
    )


def test_what_an_sdk_says_below_a_warning_is_not_logged(logged: Log) -> None:
    logging.getLogger("openai._base_client").setLevel(logging.DEBUG)
    try:
        logging.getLogger("openai._base_client").debug("Request options: %s", {"messages": SECRET})
    finally:
        logging.getLogger("openai._base_client").setLevel(logging.NOTSET)
    assert logged.getvalue() == ""


def test_of_a_librarys_warning_the_place_the_template_and_the_numbers_are_logged(logged: Log) -> None:
    logging.getLogger("library").warning("%s of %d was odd", SECRET, 7)
    logging.getLogger("asyncio").error("never retrieved: " + SECRET)  # noqa: G003  # as it does
    first, second = logged.lines()
    assert (first["severity"], first["logger"]) == ("WARNING", "library")
    assert first["message"].startswith("library (test_logs:")
    assert first["message"].endswith("… of 7 was odd")
    assert second["message"].endswith("(not shown)")
    assert SECRET not in logged.getvalue()


@pytest.mark.parametrize("name", SERVERS)
def test_a_web_server_that_brings_its_own_handler_logs_no_address_and_logs_as_we_do(
    logged: Log, name: str
) -> None:
    """An SSE address holds a token; gunicorn and uvicorn set up their handlers after us."""
    own, server = io.StringIO(), logging.getLogger(name)
    handler = logging.StreamHandler(own)
    server.addHandler(handler)
    server.setLevel(logging.DEBUG)
    try:
        server.info('%s - "%s %s HTTP/%s" %d', "::1", "GET", f"/events/s/t?token={SECRET}", "1.1", 200)
        server.error("Error handling request %s", f"/events/s/t?token={SECRET}")
    finally:
        server.removeHandler(handler)
        server.setLevel(logging.NOTSET)
    assert SECRET not in logged.getvalue()
    assert own.getvalue() == ""
    assert logged.line()["message"].endswith("Error handling request …")


def test_a_warning_of_python_does_not_quote_what_it_warns_of(logged: Log) -> None:
    """Pydantic's serialiser warns with the value."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(SECRET, stacklevel=1)
    assert SECRET not in logged.getvalue()
    assert "py.warnings" in logged.getvalue()


def test_a_thread_that_dies_says_so_without_its_errors_text(logged: Log) -> None:
    def die() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    assert SECRET not in logged.getvalue()
    line = logged.line()
    assert (line["event"], line["severity"], line["error"]) == ("uncaught", "CRITICAL", "RuntimeError")
    assert "in die" in line["stack_trace"]


def test_a_record_that_cannot_be_formatted_is_not_printed_with_its_arguments(logged: Log) -> None:
    logging.getLogger("shared.x").warning("%d", SECRET)
    assert SECRET not in logged.getvalue()
    assert logged.line()["message"] == "%d"


# What a line holds


def test_a_line_has_the_names_that_both_clouds_look_for(logged: Log) -> None:
    with bind(**trace_facts("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), request_id="r-1"):
        event(log, LogEvent.LEASE_NOT_RENEWED, task="t1", lane="paid_batch")
    line = logged.line()
    assert (line["severity"], line["level"]) == ("WARNING", "WARN")
    assert line["time"] == line["timestamp"]
    assert line["time"].endswith("Z")
    assert line["requestId"] == "r-1"
    assert line["trace"] == line["logging.googleapis.com/trace"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["logging.googleapis.com/spanId"] == "b7ad6b7169203331"
    assert line["logging.googleapis.com/labels"] == {
        "function": "lamp",
        "event": "lease_not_renewed",
        "lane": "paid_batch",
    }


def test_where_the_project_is_known_a_trace_is_called_by_its_full_name() -> None:
    with logging_to(Log(), LogSettings("INFO", LogFormat.JSON, trace_project="p-1")) as out:
        event(log, LogEvent.SWEPT, trace="0af7651916cd43dd8448eb211c80319c")
    assert (
        out.line()["logging.googleapis.com/trace"] == "projects/p-1/traces/0af7651916cd43dd8448eb211c80319c"
    )


def test_an_event_has_its_name_its_sentence_its_facts_and_what_to_do_next(logged: Log) -> None:
    event(log, LogEvent.PUBLISH_TRY_FAILED, error="status_500", task="t1", tries=1, publish_ms=12.3456)
    line = logged.line()
    assert (line["event"], line["message"]) == ("publish_try_failed", "a publish was not confirmed")
    assert (line["task"], line["tries"], line["publish_ms"], line["error"]) == ("t1", 1, 12.346, "status_500")
    assert line["hint"] == LogEvent.PUBLISH_TRY_FAILED.hint


def test_of_our_own_error_the_code_and_the_text_are_told_and_of_anothers_the_type(logged: Log) -> None:
    event(
        log, LogEvent.ATTEMPT_RELEASED, error=RetryableTaskError("timeout", "The attempt ran for too long.")
    )
    event(log, LogEvent.ATTEMPT_BROKE, error=ValueError(SECRET))
    ours, others = logged.lines()
    assert (ours["error"], ours["reason"]) == ("timeout", "The attempt ran for too long.")
    assert (others["error"], "reason" in others) == ("ValueError", False)


def test_what_is_bound_is_in_every_line_within_and_in_none_after(logged: Log) -> None:
    with bind(task="t1", lane="paid_batch"):
        with bind(attempt=2):
            event(log, LogEvent.FIRST_TOKEN, stored_ms=1)
        event(log, LogEvent.FIRST_TOKEN, stored_ms=2)
    event(log, LogEvent.FIRST_TOKEN, stored_ms=3)
    assert [(line.get("task"), line.get("lane"), line.get("attempt")) for line in logged.lines()] == [
        ("t1", "paid_batch", 2),
        ("t1", "paid_batch", None),
        (None, None, None),
    ]


def test_a_thread_carries_what_is_bound_where_it_was_made(logged: Log) -> None:
    def say() -> None:
        event(log, LogEvent.LEASE_NOT_RENEWED)

    with bind(task="t1"):
        threads = [threading.Thread(target=carried(say)), threading.Thread(target=say)]
    for thread in threads:
        thread.start()
        thread.join()
    assert [line.get("task") for line in logged.lines()] == ["t1", None]


def test_a_plain_line_has_the_known_facts_that_it_was_given(logged: Log) -> None:
    log.info("a plain sentence", extra={"task": "t1", "steps": 2, "unheard": "of"})
    line = logged.line()
    assert (line["message"], line["task"], line["steps"]) == ("a plain sentence", "t1", 2)
    assert "unheard" not in line


# What no line holds


@pytest.mark.parametrize(
    "value", [SECRET, "", "two\nlines", "\u00e9t\u00e9", b"bytes", ["list"], {}, object(), math.nan]
)
def test_a_fact_is_a_number_or_a_word_and_anything_else_is_not_shown(logged: Log, value: Any) -> None:
    event(log, LogEvent.FILE_READ, kind=value)
    assert logged.line()["kind"] == NOT_SHOWN


@pytest.mark.parametrize(
    ("value", "told"),
    [(True, True), (7, 7), (1.23456, 1.235), (LogFormat.JSON, "json"), ("a:b.1-c_d", "a:b.1-c_d")],
)
def test_numbers_and_words_are_shown(value: Any, told: Any) -> None:
    assert shown(value) == told


def test_a_fact_that_is_not_known_is_left_out(logged: Log) -> None:
    event(log, LogEvent.TASK_ADMITTED, action=None)
    assert "action" not in logged.line()


def test_huge_values_are_cut(logged: Log) -> None:
    def fall(depth: int) -> None:
        fall_on(depth - 1)

    def fall_on(depth: int) -> None:
        if depth < 0:
            raise ValueError
        fall(depth - 1)

    try:
        fall(400)  # each of the two calls the other: Python shortens what repeats itself
    except ValueError as error:
        event(log, LogEvent.REQUEST_FAILED, error=error, traced=True, path="/" + "a" * 9_000)
    log.warning("x" * 90_000)
    first, second = logged.lines()
    assert len(first["path"]) == 200
    assert "characters left out" in first["stack_trace"]
    assert max(map(len, logged.getvalue().splitlines())) < 25_000
    assert len(second["message"]) == 1_000


@pytest.mark.parametrize("format_", LogFormat)
@given(text=st.text(st.characters(), min_size=1, max_size=40))
def test_no_text_breaks_a_line_or_forges_another(format_: LogFormat, text: str) -> None:
    with logging_to(Log(), LogSettings("DEBUG", format_)) as out:
        log.warning("refused: %s", f"x{text}x", extra={"path": text})
    written = out.getvalue()
    assert written.count("\n") == 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in written[:-1])
    written.encode()


# Where it goes


def test_below_the_configured_level_nothing_of_ours_is_logged() -> None:
    with logging_to(Log(), LogSettings("WARNING", LogFormat.JSON)) as out:
        event(log, LogEvent.TASK_ADMITTED, task="t1")
        event(log, LogEvent.TASK_SWEPT, task="t2")
    assert [line["task"] for line in out.lines()] == ["t2"]


def test_the_level_debug_is_ours_alone() -> None:
    with logging_to(Log(), LogSettings("DEBUG", LogFormat.JSON)) as out:
        logging.getLogger("openai").debug("Request options: %s", SECRET)
        event(log, LogEvent.DELIVERY_RECEIVED, task="t1")
    assert [line["event"] for line in out.lines()] == ["delivery_received"]


def test_a_person_reads_the_time_the_level_the_event_its_facts_and_the_hint() -> None:
    with logging_to(Log(), LogSettings("INFO", LogFormat.HUMAN), "paid_batch") as out, bind(task="t1"):
        event(log, LogEvent.STEP_CLAIMED, waited_ms=12, claim_ms=1)
        event(log, LogEvent.ATTEMPT_FAILED, error=StoreUnavailable("Redis is away."), run_ms=7)
    first, second = (line[13:] for line in out.getvalue().splitlines())
    assert first == "INFO     paid_batch  step_claimed         task=t1 waited_ms=12 claim_ms=1"
    assert second.startswith(
        "WARNING  paid_batch  attempt_failed       task=t1 error=store_unavailable run_ms=7 | "
    )
    assert second.endswith(f"{LogEvent.ATTEMPT_FAILED.says}; Redis is away.; {LogEvent.ATTEMPT_FAILED.hint}")


def test_a_person_reads_a_stack_below_its_line() -> None:
    with logging_to(Log(), LogSettings("INFO", LogFormat.HUMAN)) as out:
        try:
            json.loads(SECRET)
        except ValueError as error:
            event(log, LogEvent.REQUEST_FAILED, error=error, traced=True)
    line, *below = out.getvalue().splitlines()
    assert "request_failed" in line
    assert below[-1] == "    JSONDecodeError"
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_levels_are_coloured_on_a_terminal_and_nowhere_else(*, is_terminal: bool) -> None:
    class Screen(Log):
        def isatty(self) -> bool:
            return is_terminal

    with logging_to(Screen(), LogSettings("INFO", LogFormat.HUMAN)) as out:
        event(log, LogEvent.SWEPT)
    assert ("\x1b[32mINFO" in out.getvalue()) is is_terminal


def test_a_log_that_is_closed_disturbs_nobody() -> None:
    with logging_to(Log()) as out:
        out.close()
        event(log, LogEvent.SWEPT)
        log.warning("a plain line")


def test_a_handler_that_was_there_keeps_its_own_form() -> None:
    with logging_to(Log()):
        root, form = logging.getLogger(), logging.Formatter("%(message)s")
        root.handlers[0].setFormatter(form)
        set_up_logs(JSON)
        assert root.handlers[0].formatter is form


# The register


@pytest.mark.parametrize("what", LogEvent)
def test_whoever_is_warned_is_told_what_to_do_next(what: LogEvent) -> None:
    assert bool(what.hint) is (what.level >= logging.WARNING)
