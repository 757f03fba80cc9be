"""The revisions' processes: one for each revision that an address leads to and that was called.

They are the local provider's instances: kept running, drained before they end. One whose revision no address
leads to any more ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

from deployment.providers.local.guard import Guard
from deployment.providers.local.instance import Instance, Source
from deployment.providers.local.processes import StartFailed
from deployment.states import FunctionState
from devstack.clouds.gcp.api.requests import ApiError, Document
from devstack.clouds.gcp.api.run_revisions import Ground
from devstack.clouds.gcp.gateway.unpacking import Unpacker

_PLATFORMS_OWN = "THREADS"


class Instances:
    """All processes, by the revisions' unique ids."""

    def __init__(self, folder: Path, ground: Ground, guard: Guard) -> None:
        self._folder = folder
        self._ground = ground
        self._guard = guard
        self._unpacker = Unpacker(folder / "unpacked")
        self._running: dict[str, Instance] = {}
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def of(self, revision: Document) -> Instance:
        """Return the process of a revision, listening.

        Raises:
            StartFailed: it does not start; the text says why.
            ApiError: its package is not there any more.
        """
        async with self._starting:
            instance = self._running.get(revision["uid"])
            if instance is None:
                instance = await self._made(revision)
                self._running[revision["uid"]] = instance
                instance.start()
        await instance.wait_ready()
        return instance

    def keep_only(self, uids: Collection[str]) -> None:
        """Let go of the processes of revisions that nothing leads to; what they are doing they finish."""
        for uid in [each for each in self._running if each not in uids]:
            ending = asyncio.ensure_future(self._running.pop(uid).drain())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def end_all(self) -> None:
        """End every process, and remove what was unpacked for them."""
        for ending in self._ending:
            ending.cancel()
        await asyncio.gather(*(each.end() for each in self._running.values()))
        self._running.clear()
        self._unpacker.remove()

    async def _made(self, revision: Document) -> Instance:
        _, package = self._ground.package(revision)
        bundle = await asyncio.to_thread(self._unpacker.unpack, package)
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        name = revision["name"].rpartition("/")[2]
        return Instance(
            Source(
                state=_state_of(revision, name),
                bundle=bundle,
                log_file=logs / f"{name}.log",
                secrets=lambda: self._variables(revision),
            ),
            self._guard,
        )

    def _variables(self, revision: Document) -> Mapping[str, str]:
        """Return what Cloud Run gives the process, secrets included, as its account may read them now."""
        try:
            variables = self._ground.environment(revision)
        except ApiError as error:
            raise StartFailed(str(error)) from error
        service, name = (revision[key].rpartition("/")[2] for key in ("service", "name"))
        # HOST: on Cloud Run the caller is outside; here it is on this machine, and nothing else may listen.
        own = {"K_SERVICE": service, "K_REVISION": name, "K_CONFIGURATION": service, "HOST": "127.0.0.1"}
        return {key: value for key, value in variables.items() if key != _PLATFORMS_OWN} | own


def _state_of(revision: Document, name: str) -> FunctionState:
    """Return a revision as the local provider knows one; its variables come with the secrets."""
    container = revision["containers"][0]
    variables = {each["name"]: each.get("value", "") for each in container.get("env", [])}
    return FunctionState(
        name=name,
        code="",
        variables={},
        secrets={},
        memory_mb=512,
        timeout_seconds=int(float(revision["timeout"].removesuffix("s"))),
        concurrency=int(variables.get(_PLATFORMS_OWN, "8")),
        python=container["baseImageUri"].removeprefix("python"),
        architecture="x86_64",
    )
