"""The subjects side by side: how each is started, how it is sent a task, and which process works."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from bench.pipelines.client import Exchange, Request, call, exchange
from bench.pipelines.processes import Child, wait_listening
from devstack.processes import free_ports
from devstack.valkey import EmbeddedValkey

SUBMIT_SECONDS = 30.0
THREADS = 20


class Subject(Protocol):
    """A pipeline that runs."""

    @property
    def name(self) -> str: ...
    @property
    def worker_pid(self) -> int:
        """The process, with its children, that calls the model."""

    @property
    def redis_url(self) -> str | None:
        """Its own Redis; None when it has none."""

    @property
    def may_lose(self) -> bool:
        """Whether it may lose an answer while nothing is broken: then that is counted, and no failure."""

    def wait_ready(self) -> None:
        """Return once it takes tasks: all are started together, and waited for afterwards."""

    async def run(self, deadline_seconds: float, *, partial: bool = False) -> Exchange:
        """Send one task and return all that its reader got."""

    def kill_worker(self) -> None: ...
    def restart_worker(self) -> None: ...


@dataclass
class Direct:
    """The provider's stream, relayed."""

    port: int
    worker: Child = field(repr=False)
    name: str = "direct"
    redis_url: str | None = None
    may_lose: bool = False

    @property
    def worker_pid(self) -> int:
        return self.worker.pid

    def wait_ready(self) -> None:
        wait_listening(self.port, self.worker)

    async def run(self, deadline_seconds: float, *, partial: bool = False) -> Exchange:
        return await exchange(Request("POST", _url(self.port, "tasks")), deadline_seconds, partial=partial)

    def kill_worker(self) -> None:
        self.worker.kill()

    def restart_worker(self) -> None:
        self.worker.restart()


@dataclass
class Peer:
    """A task queue behind the minimal front."""

    name: str
    port: int
    redis_url: str
    worker: Child = field(repr=False)
    front: Child = field(repr=False)
    may_lose: bool = False

    @property
    def worker_pid(self) -> int:
        return self.worker.pid

    def wait_ready(self) -> None:
        wait_listening(self.port, self.front)

    async def run(self, deadline_seconds: float, *, partial: bool = False) -> Exchange:
        accepted = json.loads(await call(Request("POST", _url(self.port, "tasks")), SUBMIT_SECONDS))
        stream = Request("GET", _url(self.port, f"events/{accepted['id']}"))
        return await exchange(stream, deadline_seconds, partial=partial)

    def kill_worker(self) -> None:
        self.worker.kill()

    def restart_worker(self) -> None:
        self.worker.restart()

    def end(self) -> None:
        """End it at once: nothing that it has begun is to be brought to an end."""
        self.worker.kill()
        self.front.kill()


@dataclass
class Sluice:
    """The stack as it is deployed, in a process of its own (`bench.pipelines.stack`)."""

    name: str
    stack: Child = field(repr=False)
    actions_url: str = ""
    redis_url: str = ""
    worker_pid: int = 0
    users: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """A token and a service for each."""
    turns: Iterator[int] = field(default_factory=count)
    may_lose: bool = False

    def wait_ready(self) -> None:
        told = self.stack.ask()
        self.actions_url, self.redis_url, self.worker_pid = told["actionsUrl"], told["redisUrl"], told["pid"]
        self.users = [(user["token"], user["serviceId"]) for user in told["users"]]

    async def run(self, deadline_seconds: float, *, partial: bool = False) -> Exchange:
        token, service_id = self.users[next(self.turns) % len(self.users)]
        action = Request(
            "POST",
            f"{self.actions_url}/actions/interview-tips",
            {"Authorization": f"Bearer {token}"},
            json.dumps({"serviceId": service_id}).encode(),
        )
        accepted = json.loads(await call(action, SUBMIT_SECONDS))
        return await exchange(Request("GET", accepted["streamUrl"]), deadline_seconds, partial=partial)

    def kill_worker(self) -> None:
        self.stack.ask("kill")

    def restart_worker(self) -> None:
        self.worker_pid = self.stack.ask("restart")["pid"]

    def journal(self) -> list[dict[str, str]]:
        """Return what the broker noted: task, state and time (ms) of each of its steps."""
        found: list[dict[str, str]] = self.stack.ask("journal")
        return found


_WORKERS = {
    "celery": ["celery", "-A", "bench.peers.celery_app", "worker", "--pool", "threads", "-c", str(THREADS)],
    "dramatiq": ["dramatiq", "bench.peers.dramatiq_app", "-p", "1", "-t", str(THREADS)],
    "taskiq": [
        "taskiq",
        "worker",
        "bench.peers.taskiq_app:broker",
        *("--workers", "1", "--max-threadpool-threads", str(THREADS), "--max-async-tasks", str(THREADS)),
    ],
}
PEERS = tuple(_WORKERS)
"""The peers with the same front and the same chain inside: Sluice is held to these."""
NODE_PEER = "bullmq"
"""The peer with nothing of Python and no LangChain, where Node is there; it is shown beside them."""


@contextmanager
def sluice(name: str, python: str, model_url: str, folder: Path, **settings: float) -> Iterator[Sluice]:
    """Run a whole stack; `settings` are variables of it."""
    given = [f"{key.upper()}={value:g}" for key, value in settings.items()]
    where = ["--model", model_url, "--folder", str(folder / name)]
    command = [python, "-m", "bench.pipelines.stack", *where, *given]
    with Child(command, folder / f"{name}.log", talks=True) as stack:
        yield Sluice(name, stack)


@contextmanager
def peer(name: str, python: Path, model_url: str, folder: Path) -> Iterator[Peer]:
    """Run a task queue with its worker, its front and a Redis of its own."""
    with ExitStack() as open_:
        redis = open_.enter_context(EmbeddedValkey())
        environment = {"PEER": name, "PEER_REDIS_URL": redis.url, "PEER_MODEL_URL": model_url}
        program, *arguments = _WORKERS[name]
        command = [str(python.with_name(program)), *arguments]
        worker = open_.enter_context(Child(command, folder / f"{name}.log", environment))
        (port,) = free_ports(1)
        front = _uvicorn(python, "bench.peers.front:app", port)
        served = open_.enter_context(Child(front, folder / f"{name}-front.log", environment))
        yield Peer(name, port, redis.url, worker, served)


@contextmanager
def node_peer(folder_of_peer: Path, model_url: str, folder: Path) -> Iterator[Peer]:
    """Run BullMQ with resumable-stream: its worker, its front and a Redis of its own."""
    with ExitStack() as open_:
        redis = open_.enter_context(EmbeddedValkey())
        environment = {"PEER_REDIS_URL": redis.url, "PEER_MODEL_URL": model_url}
        command = ["node", str(folder_of_peer / "worker.mjs")]
        worker = open_.enter_context(Child(command, folder / f"{NODE_PEER}.log", environment))
        (port,) = free_ports(1)
        front = ["node", str(folder_of_peer / "front.mjs"), str(port)]
        served = open_.enter_context(Child(front, folder / f"{NODE_PEER}-front.log", environment))
        yield Peer(NODE_PEER, port, redis.url, worker, served, may_lose=True)


@contextmanager
def direct(python: Path, model_url: str, folder: Path) -> Iterator[Direct]:
    """Run the relay."""
    (port,) = free_ports(1)
    command = _uvicorn(python, "bench.peers.direct:app", port)
    with Child(command, folder / "direct.log", {"PEER_MODEL_URL": model_url}) as worker:
        yield Direct(port, worker)


@contextmanager
def provider(python: str, folder: Path) -> Iterator[str]:
    """Run the fake model; yields its origin."""
    command = [python, "-m", "bench.pipelines.provider"]
    with Child(command, folder / "provider.log", talks=True) as child:
        yield f"http://127.0.0.1:{child.ask()}"


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}/{path}"


def _uvicorn(python: Path, app: str, port: int) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--no-access-log"]
    return [str(python.with_name("uvicorn")), app, "--loop", "uvloop", "--http", "httptools", *options]
