"""What the client's tests need from Python: a Node, and a real stack that they can order faults of over HTTP."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.proxy import Front
from devstack.serving import AppServer
from devstack.stack import Stack

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
MIN_NODE = 20
NODE_SECONDS = 170
TYPESCRIPT = "typescript@7"
NPM_QUIETLY = (
    "--fetch-retries=0",
    "--no-save",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
)
ADVICE = (
    f"The client's tests need Node {MIN_NODE} or newer. Playwright's wheel has one (make setup installs it); "
    "or install Node, or go on without these tests: SLUICE_NO_NODE=1 make test"
)


def find_node() -> str:
    """Return the Node that Playwright's wheel brings, else the system's; fails, or skips if told to, without."""
    if os.environ.get("SLUICE_NO_NODE") == "1":
        pytest.skip("SLUICE_NO_NODE=1: the client is not tested")
    for candidate in (_bundled_node(), shutil.which("node")):
        if candidate and _version_of(candidate) >= MIN_NODE:
            return candidate
    pytest.fail(ADVICE)


def _bundled_node() -> str | None:
    package = importlib.util.find_spec("playwright")
    folders = package.submodule_search_locations if package else None
    return shutil.which("node", path=str(Path(folders[0]) / "driver")) if folders else None


def _version_of(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return int(answer.stdout.lstrip("v").split(".")[0] or 0) if answer.returncode == 0 else 0


def find_tsc() -> str:
    """Return a TypeScript compiler: the system's, else npm's, put into build/ once; skips where none can be had."""
    folder = ROOT / "build" / "typescript"
    local = folder / "node_modules" / ".bin" / "tsc"
    if found := shutil.which("tsc") or shutil.which(local):
        return found
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the types were not compiled: there is neither tsc nor npm")
    ended = subprocess.run(
        [npm, "install", f"--prefix={folder}", *NPM_QUIETLY, TYPESCRIPT],
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS,
        check=False,
    )
    return shutil.which(local) or pytest.skip(
        f"the types were not compiled, npm failed: {ended.stderr[-300:]}"
    )


def run_node(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run Node in the project's folder and return what it said; a failing one fails the test with all of that."""
    ended = subprocess.run(
        [find_node(), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        pytest.fail(f"{ended.stdout}\n{ended.stderr}", pytrace=False)
    return ended.stdout


def run_test_file(file: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run one file by Node's own test runner."""
    said = run_node("--test", "--test-reporter=spec", str(file), environment=environment)
    assert "pass 0" not in said, "no test has run"


class Control:
    """A stack and the network before its bridge, as a test in Node orders them: `POST {url}/{what}`."""

    def __init__(self, stack: Stack, front: Front) -> None:
        self._stack = stack
        self._front = front

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token/{user}", self._token),
                Route("/said/{label}", self._said),
                Route("/connections", lambda _: JSONResponse(self._front.connections)),
                Route("/llm", self._llm, methods=["POST"]),
                Route("/pace", self._pace, methods=["POST"]),
                Route("/{order}", self._order, methods=["POST"]),
            ]
        )

    def _token(self, request: Request) -> Response:
        return JSONResponse(self._stack.user_token(request.path_params["user"]))

    def _said(self, request: Request) -> Response:
        """Answer with what the model has said to the end in calls about this label."""
        label = request.path_params["label"]
        calls = self._stack.llm.transcript.calls
        return JSONResponse([call.said for call in calls if label in call.labels and call.finished])

    async def _llm(self, request: Request) -> Response:
        fault: dict[str, Any] = await request.json()
        self._stack.llm.fail(fault.pop("kind"), **fault)
        return JSONResponse("ok")

    async def _pace(self, request: Request) -> Response:
        """Let the model talk faster or slower from now on."""
        self._stack.llm.pace.tokens_per_second = (await request.json())["tokensPerSecond"]
        return JSONResponse("ok")

    def _order(self, request: Request) -> Response:
        """Carry out an order; a plain function, so that it runs in a thread and may take its time."""
        orders: dict[str, Callable[[], None]] = {
            "cut": self._front.cut_all,
            "refuse": self._front.refuse,
            "stall": self._front.stall,
            "resume": self._front.resume,
            "kill": lambda: self._stack.kill(request.query_params["name"]),
            "restart": lambda: self._stack.restart(request.query_params["name"]),
        }
        orders[request.path_params["order"]]()
        return JSONResponse("ok")


@contextmanager
def controlled(stack: Stack) -> Iterator[dict[str, str]]:
    """Open the control of a running stack; yields the addresses, as environment variables for Node."""
    events = stack.url("events")
    stack.llm.transcript.on = True
    with (
        Front(int(events.rsplit(":", 1)[1]), name="front-client") as front,
        AppServer(Control(stack, front).application(), name="control") as control,
    ):
        yield {
            "SLUICE_TEST_ACTIONS": stack.url("actions"),
            "SLUICE_TEST_EVENTS": events,
            "SLUICE_TEST_FRONT": f"http://127.0.0.1:{front.port}",
            "SLUICE_TEST_CONTROL": control.origin,
        }
