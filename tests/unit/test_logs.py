"""What a log line may say."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter

from shared.errors import StoreUnavailable
from shared.logs import OURS, SERVERS, frames_of, set_up_logs

SECRET = "thirty years of my life"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What a process that has set up its logs writes; this process is as it was afterwards."""
    root, out = logging.getLogger(), io.StringIO()
    handlers, root.handlers = root.handlers, []
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    level, raises = logging.getLogger(OURS).level, logging.raiseExceptions
    try:
        with contextlib.redirect_stderr(out):
            set_up_logs()
            yield out
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        logging.raiseExceptions = raises
        logging.captureWarnings(capture=False)
        logging.getLogger(OURS).setLevel(level)
        root.handlers = handlers
        for name in SERVERS:
            logging.getLogger(name).filters.clear()


def test_an_exceptions_text_is_not_logged_and_its_frames_are(logged: io.StringIO) -> None:
    """Pydantic's error quotes the input."""
    try:
        TypeAdapter(int).validate_python(SECRET)
    except ValueError:
        logging.getLogger("shared.lanes.worker").exception("attempt %s failed", "t1.0.1")
    assert SECRET not in logged.getvalue()
    assert "ERROR shared.lanes.worker: attempt t1.0.1 failed\n" in logged.getvalue()
    assert "in test_an_exceptions_text_is_not_logged_and_its_frames_are" in logged.getvalue()
    assert logged.getvalue().rstrip().endswith("ValidationError")


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


def test_what_an_sdk_says_below_a_warning_is_not_logged(logged: io.StringIO) -> None:
    logging.getLogger("openai._base_client").setLevel(logging.DEBUG)
    try:
        logging.getLogger("openai._base_client").debug("Request options: %s", {"messages": SECRET})
    finally:
        logging.getLogger("openai._base_client").setLevel(logging.NOTSET)
    assert logged.getvalue() == ""


def test_of_a_librarys_warning_the_place_the_template_and_the_numbers_are_logged(logged: io.StringIO) -> None:
    logging.getLogger("library").warning("%s of %d was odd", SECRET, 7)
    logging.getLogger("asyncio").error("never retrieved: " + SECRET)  # noqa: G003  # as it does
    lines = logged.getvalue().splitlines()
    assert lines[0].startswith("WARNING library: library (test_logs:")
    assert lines[0].endswith("… of 7 was odd")
    assert lines[1].endswith("(not shown)")
    assert SECRET not in logged.getvalue()


@pytest.mark.parametrize("name", SERVERS)
def test_a_web_server_that_brings_its_own_handler_logs_no_address(logged: io.StringIO, name: str) -> None:
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
    assert SECRET not in own.getvalue() + logged.getvalue()
    assert "Error handling request …" in own.getvalue()


def test_a_warning_of_python_does_not_quote_what_it_warns_of(logged: io.StringIO) -> None:
    """Pydantic's serialiser warns with the value."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(SECRET, stacklevel=1)
    assert SECRET not in logged.getvalue()
    assert "py.warnings" in logged.getvalue()


def test_a_thread_that_dies_says_so_without_its_errors_text(logged: io.StringIO) -> None:
    def die() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    assert SECRET not in logged.getvalue()
    assert "CRITICAL shared.logs" in logged.getvalue()
    assert "in die" in logged.getvalue()


def test_a_record_that_cannot_be_formatted_is_not_printed_with_its_arguments(logged: io.StringIO) -> None:
    logging.getLogger("shared.x").warning("%d", SECRET)
    assert SECRET not in logged.getvalue()
