"""docs/api.md is what happens: a shell pastes it from top to bottom against a stack, and everything is compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from devstack.frontend import assert_at_rest
from devstack.llm.faults import FaultKind
from devstack.stack import Stack
from devstack.up import exports
from shared.actions.openapi import openapi_document
from shared.errors import Refused, SluiceError, StoreUnavailable
from shared.routing import Model
from shared.stream.events import EventType

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ANY = "…"
"""On the page: whatever is there, from here on."""
VARYING = re.compile(r"(task|service)Id|\w+Url|\w+At|at|score")
"""What differs from run to run: compared by type."""
PASSING = {"backpressure", "retrying", "stalled"}
"""Events that depend on what else goes on."""


@dataclass(frozen=True)
class Block:
    """What is pasted at once, and what the page says that it answers."""

    source: str
    statuses: list[str]
    body: Any
    events: list[tuple[str, str]]

    @classmethod
    def of(cls, source: str, told: str) -> Self:
        says = re.search(r"^Answers (.*)", told, re.MULTILINE)
        body = re.search(r"```json\n(.*?)```", told, re.DOTALL)
        return cls(
            source,
            re.findall(r"`(\d{3})`", says[1]) if says else [],
            json.loads(body[1]) if body else None,
            re.findall(r"^event: (\w+)\ndata: (.*)", told, re.MULTILINE),
        )


def blocks(page: str = PAGE) -> list[Block]:
    _, *parts = re.split(r"^```sh\n", page, flags=re.MULTILINE)
    return [Block.of(*part.split("\n```", 1)) for part in parts]


class Terminal:
    """A shell that things are pasted into; its curl also tells the status of each answer."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self._out, self._error = folder / "out", folder / "error"
        (folder / "bin").mkdir()
        curl = folder / "bin" / "curl"
        curl.write_text(
            f"#!/bin/sh\nexec {shutil.which('curl')} -w '%{{stderr}}status %{{http_code}}\\n' \"$@\"\n"
        )
        curl.chmod(0o700)
        for name in (".venv", "devstack", "operations", "scripts", "shared"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "build").mkdir()
        self._exports = exports(stack, folder / "build/up.env")
        self._folder = folder

    def __enter__(self) -> Self:
        self._exports.__enter__()
        environment = {"PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        self._shell = subprocess.Popen(
            ["sh"],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.communicate("exit\n")
        self._exports.__exit__(None, None, None)

    def paste(self, source: str) -> tuple[str, str]:
        """Run a block, which must succeed; returns what it printed, and the statuses and complaints beside it."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{{\n{source}\n}} >{self._out} 2>{self._error}\necho ended $?\n")
        self._shell.stdin.flush()
        assert self._shell.stdout.readline() == "ended 0\n", f"{source}\n{self._error.read_text()}"
        return self._out.read_text(encoding="utf-8"), self._error.read_text(encoding="utf-8")


def differences(told: Any, real: Any, place: str = "") -> Iterator[str]:
    """Yield where an answer is not what the page says."""
    varies = VARYING.fullmatch(place.rpartition(".")[2]) or ".tasks." in place
    if told == ANY:
        return
    if isinstance(told, dict) and isinstance(real, dict):
        yield from (f"{place}.{name}: only told" for name in told.keys() - real.keys() - {ANY})
        yield from (f"{place}.{name}: not told" for name in real.keys() - told.keys() if ANY not in told)
        for name in told.keys() & real.keys():
            yield from differences(told[name], real[name], f"{place}.{name}")
    elif isinstance(told, list) and isinstance(real, list) and told:
        if not real:
            yield f"{place}: empty"
        rows = told if len(told) == len(real) else told[:1] * len(real)
        for row, (one, other) in enumerate(zip(rows, real, strict=True)):
            yield from differences(one, other, f"{place}[{row}]")
    elif type(told) is not type(real):
        yield f"{place}: {real!r} is not of the kind of {told!r}"
    elif isinstance(told, str) and ANY in told:
        if not (varies or real.startswith(told.split(ANY)[0].rstrip())):
            yield f"{place}: {real[:40]!r} does not begin as {told!r}"
    elif told != real and not varies:
        yield f"{place}: {real!r} is not {told!r}"


def events_of(stream: str) -> list[tuple[str, str]]:
    """Return a stream's events without passing ones and signs of life, those of one type in a row as one."""
    found = re.findall(r"^event: (\w+)\ndata: (.*)", stream, re.MULTILINE)
    lasting = [event for event in found if event[0] not in PASSING and '"thinking":true' not in event[1]]
    return [
        e for e, before in zip(lasting, [None, *lasting], strict=False) if not before or e[0] != before[0]
    ]


def problems(block: Block, out: str, error: str) -> Iterator[str]:
    if (statuses := re.findall(r"^status (\d+)", error, re.MULTILINE)) != block.statuses:
        yield f"statuses {statuses} instead of {block.statuses}"
    yield from (f"complaint: {line}" for line in error.splitlines() if not line.startswith("status "))
    if block.body is not None:
        body, _ = json.JSONDecoder().raw_decode(out)
        yield from differences(block.body, body)
    if block.events:
        real = events_of(out)
        if [name for name, _ in real] != [name for name, _ in block.events]:
            yield f"events {[name for name, _ in real]}"
        for (name, told), (_, data) in zip(block.events, real, strict=False):
            fields = re.findall(r'"(\w+)":', told)
            yield from (f"{name} has no {field}" for field in fields if f'"{field}":' not in data)


SAID = {"sluice quota": "has 8 coins", "sluice reconcile": "Nothing differs", "sluice tasks": "No open task."}
"""What commands of docs/operations.md say of a stack that rests; test_controls_tool.py has others."""


@pytest.fixture
def stack(build_folder: Path) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, tokens_per_second=3000, qstash_time_scale=0.1) as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page is for people who have curl")
@pytest.mark.timeout(240)
def test_the_page_pasted_from_top_to_bottom_answers_what_it_says(stack: Stack, tmp_path: Path) -> None:
    found: list[str] = []
    with Terminal(tmp_path, stack) as terminal:
        for number, block in enumerate(blocks()):
            if "job-photo.zh" in block.source:  # so that it still runs when the next block cancels it
                stack.llm.fail(FaultKind.HANG, model=Model.GLM_VISION)
            printed = terminal.paste(block.source)
            found += (f"block {number}: {what}\n{block.source}" for what in problems(block, *printed))

    assert not found, "\n\n".join(found)
    assert not (tmp_path / "build/up.env").exists()
    assert_at_rest(stack)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages are for people who have curl")
def test_what_the_other_pages_have_for_a_running_stack_works_too(stack: Stack, tmp_path: Path) -> None:
    """Of operations.md what needs no access of an operator's; and the first call of the README."""
    first_call = next(block for block in blocks(README) if "curl" in block.source)
    said = [
        (block, text)
        for block in blocks(OPERATIONS)
        for command, text in SAID.items()
        if command in block.source
    ]
    assert len(said) == len(SAID)
    with Terminal(tmp_path, stack) as terminal:
        for block, text in said:
            printed, complaints = terminal.paste(block.source)
            assert complaints == ""
            assert text in printed
        assert terminal.paste(first_call.source)[1] == "status 202\n"
    assert_at_rest(stack)


def test_the_page_says_what_each_of_its_calls_answers() -> None:
    for block in blocks():
        assert len(block.statuses) == len(re.findall(r"\bcurl -", block.source)), block.source


def test_every_call_of_the_contract_has_its_curl() -> None:
    """And none is on the page that the contract does not have."""
    paths: dict[str, dict[str, Any]] = json.loads(openapi_document())["paths"]
    there = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if method in {"get", "post", "delete"} and not path.startswith("/callbacks/")
    }
    called = set()
    for line in re.findall(r"\bcurl (?:[^|\n\\]|\\\n)*", "\n".join(block.source for block in blocks())):
        path = re.search(r'"\$ACTIONS(/[^"]*)"', line)
        method = re.search(r"-X (\w+)", line)
        if path:
            sends = re.search(r" -[dF] ", line)
            name = path[1].replace("$TASK", "{taskId}").replace("$SERVICE", "{serviceId}")
            called.add((method[1] if method else "POST" if sends else "GET", name))
    assert called == there


def test_the_table_of_refusals_is_the_tree_of_errors() -> None:
    """With each code's status, and whether it comes with a Retry-After."""
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| .* \| (yes)? ?\|$", PAGE, re.MULTILINE)
    kinds: list[type[SluiceError]] = [SluiceError, *below(Refused), StoreUnavailable]
    assert {(int(status), code) for status, code, _ in rows} == {(int(k.status), k.code) for k in kinds}
    assert {code for status, code, after in rows if after} == {
        code for status, code, _ in rows if status in {"429", "503"}
    }


def below(kind: type[SluiceError]) -> list[type[SluiceError]]:
    return [kind, *(deeper for each in kind.__subclasses__() for deeper in below(each))]


def test_the_table_of_events_has_every_event() -> None:
    table = PAGE[PAGE.index("| event | carries |") :]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert sorted(named) == sorted(EventType)


def test_every_link_of_the_page_has_a_target() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
