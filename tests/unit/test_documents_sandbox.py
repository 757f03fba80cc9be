"""A reader runs apart: it knows nothing, is bounded in all that it takes, and dies alone."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.actions.documents import document_text
from shared.actions.readers.answer import Answer, Kind, Outcome
from shared.actions.sandbox import CHILD, Sandbox
from shared.errors import ReadersBusy, UnreadableFile
from tests.documents_kit import ENGLISH, pdf_of
from tests.logs_kit import Log, logging_to

SECRET = "a secret of the function"
SAY = """
import json, os, sys
def say(value):
    data = json.dumps(value).encode()
    head = {"outcome": "ok", "mediaType": "", "bytes": len(data)}
    os.write(1, json.dumps(head).encode() + b"\\n" + data)
"""
BOUND = """
sys.path.extend(sys.argv[2:])
from shared.actions.readers.child import bound
bound()
"""
Make = Callable[..., Sandbox]


@pytest.fixture
def running(tmp_path: Path) -> Make:
    """Return what makes a sandbox that runs a program of the test's in the reader's place."""

    def make(program: str, **options: float) -> Sandbox:
        script = tmp_path / "reader.py"
        script.write_text(SAY + program)
        return Sandbox(script, **options)  # type: ignore[arg-type]

    return make


def said(sandbox: Sandbox, data: bytes = b"") -> object:
    answer = sandbox.read(Kind.PDF, data)
    assert answer.outcome is Outcome.OK
    return json.loads(answer.data)


def is_gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_reader_inherits_no_variable(running: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_JWT_SECRET", SECRET)
    variables = said(running("say(dict(os.environ))"))
    assert isinstance(variables, dict)
    assert set(variables) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}  # the second is Python's own doing
    assert SECRET not in str(variables)


def test_a_reader_inherits_no_open_file(running: Make, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        opened = said(
            running(
                "say([os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)] + os.listdir('/proc/self/fd'))"
            )
        )
    assert isinstance(opened, list)
    assert len(opened) <= 3 + 4  # the three, and the listing itself
    assert "secret" not in str(opened)


def test_a_reader_is_not_asked_by_way_of_its_arguments(running: Make) -> None:
    arguments = said(running("say(sys.argv[1:])"), b"the user's words")
    assert isinstance(arguments, list)
    assert arguments[0] == "pdf"
    assert "words" not in str(arguments)


@pytest.mark.parametrize(
    ("deed", "outcome"),
    [
        ("bytearray(1 << 30)", "MemoryError"),
        ("[open('/dev/null') for _ in range(100)]", "OSError"),
        ("os.write(os.open(__file__ + '.out', os.O_CREAT | os.O_WRONLY), b'x')", "OSError"),
    ],
    ids=["memory", "files", "writing"],
)
def test_a_reader_cannot_take_more_than_its_share(running: Make, deed: str, outcome: str) -> None:
    program = f"{BOUND}\ntry:\n    {deed}\nexcept BaseException as error:\n    say(type(error).__name__)"
    assert said(running(program)) == outcome


def test_a_reader_that_computed_all_the_time_found_the_file_too_hard(running: Make) -> None:
    """One that got no processor is the machine's fault: the user is told to come back, not that the file is bad."""
    spinning = running("while True: pass", total_seconds=1.5)
    for _ in range(5):  # on a machine that is busy just now it may have had no processor either
        with contextlib.suppress(ReadersBusy):
            assert spinning.read(Kind.PDF, b"").outcome is Outcome.TOO_HARD
            return
    pytest.fail("it never had the processor for half of its time")


def test_a_reader_that_only_computes_is_ended_by_its_own_limit(running: Make) -> None:
    program = f"{BOUND}\nimport resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass"
    assert running(program, total_seconds=30).read(Kind.PDF, b"").outcome is Outcome.TOO_HARD


@pytest.mark.parametrize(
    "program",
    [
        "import signal; signal.pause()",
        "sys.stdin.buffer.read(); import signal; signal.pause()",
        "os.close(1); import signal; signal.pause()",
        "import signal; signal.alarm(0); signal.pause()",
    ],
    ids=["never reads", "never answers", "closes its output", "disarms its clock"],
)
def test_a_reader_out_of_time_is_killed_and_reaped(running: Make, tmp_path: Path, program: str) -> None:
    note = tmp_path / "pid"
    sandbox = running(f"open({str(note)!r}, 'w').write(str(os.getpid()))\n{program}", total_seconds=1.5)
    with pytest.raises(ReadersBusy):
        sandbox.read(Kind.PDF, bytes(3_000_000))
    assert is_gone(int(note.read_text()))


def test_what_a_reader_started_dies_with_it(running: Make, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"""
import signal
child = os.fork()
if child == 0:
    signal.pause()
open({str(note)!r}, "w").write(str(child))
"""
    assert running(program, total_seconds=1.5).read(Kind.PDF, b"").outcome is not Outcome.OK
    deadline = threading.Event()
    while not is_gone(int(note.read_text())):
        assert not deadline.wait(0.05)


@pytest.mark.parametrize(
    "program",
    [
        "while True: os.write(1, b'x' * 65536)",
        'os.write(1, b\'{"outcome": "ok", "mediaType": "", "bytes": 900}\\nshort\')',
        "os.write(1, b'[1, 2]\\n')",
        'os.write(1, b\'{"outcome": "yes", "mediaType": "", "bytes": 0}\\n\')',
        "os.abort()",
        "sys.exit(3)",
        "",
    ],
    ids=["endless", "short", "a list", "an unknown outcome", "abort", "exit", "silence"],
)
def test_a_reader_that_says_no_whole_answer_has_read_nothing(running: Make, program: str) -> None:
    assert running(program).read(Kind.PDF, b"x").outcome in {Outcome.BROKEN, Outcome.TOO_HARD}


def test_a_reader_s_death_is_a_refusal_to_the_caller(running: Make) -> None:
    with pytest.raises(UnreadableFile, match="save it"):
        document_text(b"%PDF-1.7", sandbox=running("os.kill(os.getpid(), 9)"))


def test_whoever_finds_no_place_is_asked_to_come_back(running: Make, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    sandbox = running(
        f"open({str(gate)!r}).read(); say('read')", places=1, wait_seconds=0.05, total_seconds=60
    )
    first = threading.Thread(target=sandbox.read, args=(Kind.PDF, b""))
    first.start()
    with gate.open("w"), pytest.raises(ReadersBusy) as refused:  # opens once the reader waits at it
        sandbox.read(Kind.PDF, b"")
    first.join()
    assert refused.value.retry_after_seconds
    with_place = threading.Thread(target=lambda: gate.open("w").close())
    with_place.start()
    assert said(sandbox) == "read"
    with_place.join()


def test_a_place_is_free_again_after_any_end(running: Make) -> None:
    sandbox = running("os.abort()", places=1, wait_seconds=0.05)
    assert [sandbox.read(Kind.PDF, b"").outcome for _ in range(3)] == [Outcome.BROKEN] * 3


def test_the_log_says_what_happened_and_nothing_of_the_file() -> None:
    with logging_to(Log()) as log:
        text = document_text(pdf_of(ENGLISH))
    line = log.line()
    assert (line["event"], line["kind"], line["outcome"]) == ("file_read", "pdf", "ok")
    assert not any(word in log.getvalue() for word in text.split() if len(word) > 4)


def test_the_reader_itself_gives_itself_its_limits_before_it_loads_a_parser() -> None:
    source = CHILD.read_text()
    assert source.index("    bound()\n") < source.index("from shared.actions.readers.reading")


def test_an_answer_is_the_same_after_its_way_through_the_pipe() -> None:
    answer = Answer(Outcome.OK, "image/png", b"\n\x00data\n")
    assert Answer.from_bytes(answer.to_bytes()) == answer
