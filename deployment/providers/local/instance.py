"""One revision as a running process: started, started again should it end, drained before it is ended.

starting ──listens──▶ ready ──ends by itself──▶ waiting (0.1 s, doubled up to 30 s) ──▶ starting
    └── ends at its start: the reason is kept for whoever waits, then as above
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployment.errors import DeployError
from deployment.providers.local.guard import Guard
from deployment.providers.local.processes import (
    START_SECONDS,
    STOP_SECONDS,
    FunctionProcess,
    StartFailed,
    free_ports,
    plain_environment,
)
from deployment.states import FunctionState

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
SOUND_AFTER_SECONDS = 60.0
"""Having run for so long, a process that ends is started again without a pause as after its first end."""
_POLL_SECONDS = 0.02
_SLOW_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Source:
    """What a revision's process is made of."""

    state: FunctionState
    bundle: Path
    log_file: Path
    secrets: Callable[[], Mapping[str, str]] = field(repr=False)
    """Returns the values of the secrets that the state pins, by variable.

    Raises:
        DeployError: one is gone, or is none of the function's.
    """


@dataclass(eq=False)
class Instance:
    """The process of one revision. All of it happens on the supervisor's event loop."""

    source: Source
    guard: Guard
    port: int | None = None
    """Where it listens; None while it does not."""
    in_flight: int = 0
    """Requests that have been led to it and are not answered yet."""
    restarts: int = 0
    failure: str = ""
    """Why it did not start last time."""
    _process: FunctionProcess | None = None
    _home: Path | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def timeout_seconds(self) -> float:
        return float(self.source.state.timeout_seconds)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Keep a process running from now on."""
        self._task = asyncio.create_task(self._keep_running())

    async def wait_ready(self) -> None:
        """Return when it listens.

        Raises:
            StartFailed: it ended at its start, or does not listen in time.
        """
        deadline = time.monotonic() + START_SECONDS
        # A process that has just ended still has its port until that is noticed: it is not ready either.
        while self.port is None or self.pid is None:
            if self.failure:
                raise StartFailed(self.failure)
            if time.monotonic() > deadline:
                raise StartFailed(f"{self.source.state.name} does not listen; see {self.source.log_file}")
            await asyncio.sleep(_POLL_SECONDS)

    async def drain(self) -> None:
        """End the process once nothing is under way any more; its front ends what passes the time-out."""
        await _until(lambda: not self.in_flight, _SLOW_POLL_SECONDS)
        await self.end()

    async def end(self) -> None:
        """End the process, asked first and then by force, and keep it ended."""
        self.port = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._end_process()

    async def _keep_running(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            try:
                await self._run()
                self.failure = ""
            except (DeployError, OSError) as error:  # OSError: the bundle is gone, or the machine is full
                self.failure = str(error)
            self.port = None
            await self._end_process()
            if time.monotonic() - started > SOUND_AFTER_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            log.warning("%s has ended, and is started again in %.1f s", self._told, pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            self.restarts += 1

    async def _run(self) -> None:
        """Return when the process has ended by itself, after it had listened."""
        process = self._process = self._new_process()
        process.start()
        deadline = time.monotonic() + START_SECONDS
        await _until(lambda: process.is_ready(deadline), _POLL_SECONDS)
        self.port, self.failure = process.port, ""
        log.info("%s listens on port %d (pid %s)", self._told, process.port, process.pid)
        await _until(lambda: process.pid is None, _SLOW_POLL_SECONDS)

    def _new_process(self) -> FunctionProcess:
        state = self.source.state
        # Not below the environment's folder: the path of a socket is at most 108 characters long.
        self._home = Path(tempfile.mkdtemp(prefix="sluice-"))
        return FunctionProcess(
            state.name,
            bundle=self.source.bundle,
            port=free_ports(1)[0],
            environment={
                **state.variables,
                **self.source.secrets(),
                **plain_environment(self._home, state.concurrency),
            },
            log_file=self.source.log_file,
            guard=self.guard.watch,
        )

    async def _end_process(self) -> None:
        process = self._process
        if process is not None:
            process.thaw()
            process.request_stop()
            await asyncio.to_thread(process.wait_stopped, time.monotonic() + STOP_SECONDS)
            if process.started_pid is not None:
                self.guard.forget(process.started_pid)
            self._process = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    @property
    def _told(self) -> str:
        return f"{self.source.state.name} {self.source.state.fingerprint}"


async def _until(happened: Callable[[], bool], poll_seconds: float) -> None:
    while not happened():  # noqa: ASYNC110  # a process tells nobody that it listens, or has ended
        await asyncio.sleep(poll_seconds)
