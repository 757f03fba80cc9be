"""The supervisor: makes so what stands in `state.json`, and keeps it so.

For each function that has an address it serves a front; for each revision that takes calls, or that somebody
is about to look at, it keeps a process running. A new revision gets calls only once it listens, and a former
one is ended only once it has answered what it was asked. All of it on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployment.errors import DeployError, Refused
from deployment.providers.local.front import Front
from deployment.providers.local.guard import Guard
from deployment.providers.local.instance import Instance, Source
from deployment.providers.local.layout import Layout
from deployment.providers.local.listener import Listener, PortTaken
from deployment.providers.local.records import FunctionRecord, Records
from deployment.providers.local.secret_files import SecretFiles
from deployment.resources import Kind
from deployment.states import FunctionState

log = logging.getLogger(__name__)
HOLD_SECONDS = 600.0
"""How long a revision without calls is kept running for whoever asked for it."""
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be made as it stands in the records."""

    function: str
    fingerprint: str
    """The revision that does not run; empty when it is the address that cannot be listened at."""
    text: str


@dataclass
class Served:
    """One function that has an address."""

    front: Front
    listener: Listener
    instances: dict[str, Instance] = field(default_factory=dict)
    """By fingerprint."""
    held: dict[str, float] = field(default_factory=dict)
    """Until when (`time.monotonic`) a revision without calls is kept running."""


class Supervisor:
    """Everything that runs of one environment, but for the world around it."""

    def __init__(self, layout: Layout, guard: Guard, *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._hold_seconds = hold_seconds
        self._layout = layout
        self._guard = guard
        self._records = Records(layout.folder)
        self._secrets = SecretFiles(layout.secrets)
        self._served: dict[str, Served] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._settling = asyncio.Lock()

    async def settle(self, hold: Iterable[tuple[str, str]] = ()) -> list[Problem]:
        """Make so what stands in the records, and return what could not be done.

        Args:
            hold: revisions (function and fingerprint) to run for a while though they take no calls.
        """
        async with self._settling:
            records = self._records.read()
            for name in self._served.keys() - {name for name, record in records.items() if record.port}:
                await self._remove(name)
            problems = self._open(records)
            for name, fingerprint in hold:
                if name in self._served:
                    self._served[name].held[fingerprint] = time.monotonic() + self._hold_seconds
            served = {name: records[name] for name in self._served}
            outcomes = await asyncio.gather(*(self._settle(name, each) for name, each in served.items()))
            return [*problems, *(problem for outcome in outcomes for problem in outcome)]

    async def keep(self) -> None:
        """Let go of revisions that nobody looks at; returns when the environment's folder is gone."""
        while self._layout.folder.is_dir():
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if any(until < now for served in self._served.values() for until in served.held.values()):
                for served in self._served.values():
                    served.held = {name: until for name, until in served.held.items() if until >= now}
                with contextlib.suppress(DeployError):  # records that cannot be read: commands say so
                    await self.settle()

    def status(self) -> dict[str, Any]:
        """Return what runs, by function."""
        return {name: _status(served) for name, served in self._served.items()}

    async def close(self) -> None:
        """End every front and every process, at once."""
        await asyncio.gather(*(self._remove(name) for name in list(self._served)))
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _open(self, records: Mapping[str, FunctionRecord]) -> list[Problem]:
        """Listen at each address; returns those that cannot be listened at."""
        problems = []
        for name, record in records.items():
            if record.port is None or name in self._served:
                continue
            front = Front(name)
            try:
                self._served[name] = Served(front, Listener(front, record.port))
            except PortTaken as taken:
                problems.append(Problem(name, "", str(taken)))
        return problems

    async def _settle(self, name: str, record: FunctionRecord) -> list[Problem]:
        served = self._served[name]
        live = {each for each, share in record.live.items() if share}
        # What takes calls by now needs nobody to hold it, and goes as soon as it takes none any more.
        served.held = {each: until for each, until in served.held.items() if each not in live}
        wanted = live | served.held.keys()
        problems = self._start(name, record, wanted - served.instances.keys())
        problems += await _wait_ready(name, served, wanted & served.instances.keys())
        for failed in {problem.fingerprint for problem in problems} - live:
            served.held.pop(failed, None)  # whoever asks again gets a new process
            wanted.discard(failed)
        served.front.stopped = record.stopped
        running = live & served.instances.keys()
        served.front.weights.set({served.instances[each]: record.live[each] for each in sorted(running)})
        for fingerprint in served.instances.keys() - wanted:
            self._end_later(served.instances.pop(fingerprint))
        return problems

    def _start(self, name: str, record: FunctionRecord, fingerprints: Collection[str]) -> list[Problem]:
        problems = []
        for fingerprint in fingerprints:
            try:
                instance = self._new_instance(name, record, fingerprint)
            except DeployError as error:
                problems.append(Problem(name, fingerprint, str(error)))
            else:
                self._served[name].instances[fingerprint] = instance
                instance.start()
        return problems

    def _new_instance(self, name: str, record: FunctionRecord, fingerprint: str) -> Instance:
        revision = record.revision(fingerprint)
        if revision is None:
            raise Refused(f"there is no revision {fingerprint}")
        state = revision.state
        source = Source(
            state,
            self._layout.bundle(state.code),
            self._log_file(name, record),
            lambda: self._values(state),
        )
        return Instance(source, self._guard)

    def _values(self, state: FunctionState) -> dict[str, str]:
        """Return the values of a state's secrets, as its identity holds them at this moment."""
        record = self._records.read().get(state.name, FunctionRecord())
        allowed = record.resources.get(Kind.IDENTITY, {}).get("secrets", ())
        foreign = sorted(pin.name for pin in state.secrets.values() if pin.name not in allowed)
        if foreign:
            raise Refused(f"{state.name} may not read {', '.join(foreign)}: its identity does not hold them.")
        return {variable: self._secrets.read(pin) for variable, pin in state.secrets.items()}

    def _log_file(self, name: str, record: FunctionRecord) -> Path:
        """Return where a function's log is added to; one that has grown too long is put aside first."""
        file = self._layout.log(name)
        file.parent.mkdir(exist_ok=True)
        longest = record.resources.get(Kind.LOGS, {}).get("max_bytes")
        if longest and file.is_file() and file.stat().st_size > longest:
            file.replace(file.with_suffix(".log.1"))
        return file

    async def _remove(self, name: str) -> None:
        served = self._served.pop(name)
        await served.listener.close()
        await asyncio.gather(*(instance.end() for instance in served.instances.values()))
        await served.front.close()

    def _end_later(self, instance: Instance) -> None:
        task = asyncio.create_task(self._drain(instance))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _drain(self, instance: Instance) -> None:
        try:
            await instance.drain()
        except asyncio.CancelledError:
            await instance.end()
            raise


async def _wait_ready(name: str, served: Served, fingerprints: Collection[str]) -> list[Problem]:
    problems = []
    for fingerprint in fingerprints:
        try:
            await served.instances[fingerprint].wait_ready()
        except DeployError as error:
            problems.append(Problem(name, fingerprint, str(error)))
    return problems


def _status(served: Served) -> dict[str, Any]:
    return {
        "port": served.listener.port,
        "stopped": served.front.stopped,
        "instances": {
            fingerprint: {
                "port": instance.port,
                "pid": instance.pid,
                "in_flight": instance.in_flight,
                "restarts": instance.restarts,
            }
            for fingerprint, instance in served.instances.items()
        },
    }
