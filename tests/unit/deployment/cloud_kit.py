"""What the worlds of all clouds have in common: the real planner and executor deploy to an emulated one."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from deployment.catalogue import FunctionSpec, load_catalogue
from deployment.environments import Environment
from deployment.errors import LockHeld, ProbeFailed
from deployment.execution import Executor
from deployment.ledger import past_of, releases
from deployment.lock import locked
from deployment.objects import ObjectStore
from deployment.planner import Canary, Desired, make_plan
from deployment.providers.interface import Provider
from deployment.resources import Observed, ObservedFunction, Properties, Revision
from deployment.states import FunctionState, url_reference
from deployment.steps import Plan
from tests.unit.deployment.memory_kit import Quiet

BUCKET = "sluice-staging-artefacts"
NAMES = ("free_stream", "actions")
CATALOGUE: Mapping[str, FunctionSpec] = load_catalogue()
"""Read once: worlds are made by the hundred."""
ROUTES = {"actions": ("FREE_STREAM_URL", "free_stream")}
"""Whose variables hold another's address."""
P = TypeVar("P", bound=Provider)


def package(code: str) -> bytes:
    """Return a package; the same code is the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("main.py"), code)
    return content.getvalue()


def variables_of(name: str) -> dict[str, str]:
    """Return a function's variables, with its own address and, where there is one, another's."""
    variables = {"SLUICE_ENV": "staging", "ROUTE_URL": url_reference(name)}
    if name in ROUTES:
        variable, function = ROUTES[name]
        variables[variable] = url_reference(function)
    return variables


@dataclass
class Probed:
    """A prober that asks nobody: says no to the code of `broken`, and notes what it was asked."""

    broken: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)

    def probe(self, probed: FunctionState, url: str) -> None:
        self.asked.append((probed.name, url))
        if probed.code[0] in self.broken:
            raise ProbeFailed(f"{probed.name} does not answer")


class NoSchedule:
    def ensure(self, properties: Properties) -> None:
        raise AssertionError(properties)


class CloudWorld(Generic[P]):
    """A cloud and the environment on it; each cloud's own says how it is reached and what its revisions are."""

    folder: Path
    environment: Environment
    catalogue: Mapping[str, FunctionSpec]
    names: tuple[str, ...]
    later_seconds: float

    def provider(self, at_once: int = 1, **changes: Any) -> P:
        """Return a provider as a new process would make it."""
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        """Go on at once, and note for how long it would have been."""
        raise NotImplementedError

    def state(self, name: str) -> FunctionState:
        """Return what is wanted of a function unless somebody says otherwise."""
        raise NotImplementedError

    def settings(self, name: str, revision: Revision, url: str) -> dict[str, Any]:
        """Return what a revision is made of, in words that are the same for the same state of the world."""
        raise NotImplementedError

    @property
    def specs(self) -> Mapping[str, FunctionSpec]:
        return self.environment.specs(self.catalogue)

    def wanted(self, *states: FunctionState, stopped: Sequence[str] = (), keep: int = 3) -> Desired:
        """Return what is wanted: these states, of all functions or some of them."""
        provider = self.provider()
        every = {name: self.state(name) for name in self.names} | {each.name: each for each in states}
        resources = {name: provider.resources(self.specs[name], stopped=name in stopped) for name in every}
        return Desired("staging", every, resources, keep=keep, stopped=frozenset(stopped))

    def plan(self, desired: Desired, provider: P | None = None, canary: Canary | None = None) -> Plan:
        """Return what leads from what is there to what is wanted."""
        ours = provider or self.provider()
        past = past_of(releases(ours.objects), desired.keep)
        return make_plan(desired, ours.observe(list(desired.states)), past, canary)

    def apply(
        self,
        desired: Desired,
        provider: P | None = None,
        *,
        canary: Canary | None = None,
        prober: Probed | None = None,
    ) -> Plan:
        """Plan and perform, as the command does."""
        ours = provider or self.provider()
        ours.objects.ensure()
        with locked(ours.objects, "apply", clock=self._now) as lock:
            planned = self.plan(desired, ours, canary)
            executor = Executor(
                provider=ours,
                lock=lock,
                prober=prober or Probed(),
                scheduler=NoSchedule(),
                progress=Quiet(),
                packages={each.code: self.package(each.code) for each in desired.states.values()},
                who="ann",
                revision="abc",
                wait=self.wait,
            )
            executor.run(planned)
        return planned

    def observe(self) -> Observed:
        return self.provider().observe(self.names)

    def function(self, name: str) -> ObservedFunction:
        return self.observe().functions[name]

    def live(self, name: str) -> Mapping[str, int]:
        return self.function(name).live

    def content(self, observed: Observed | None = None) -> dict[str, Any]:
        """Return all there is, in words that are the same for the same state of the world: no ids, no times."""
        observed = observed or self.observe()
        found = releases(self.provider().objects)
        return {
            "functions": {name: self._content(name, each) for name, each in observed.functions.items()},
            "artefacts": observed.artefacts,
            "released": {name: each.code for name, each in found[0].states.items()} if found else {},
        }

    def package(self, code: str) -> Path:
        """Return the file of a package, which is made once."""
        file = self.folder / f"{code}.zip"
        if not file.exists():
            file.write_bytes(package(code))
        return file

    def _content(self, name: str, found: ObservedFunction) -> dict[str, Any]:
        order = sorted(found.revisions, key=lambda revision: revision.number)
        ranks = {revision.fingerprint: rank for rank, revision in enumerate(order)}
        assert len(ranks) == len(order), "two revisions of one state"
        return {
            "resources": {kind: each.properties for kind, each in found.resources.items()},
            "has_url": found.url is not None,
            "revisions": [self.settings(name, revision, found.url or "") for revision in order],
            "live": {ranks[fingerprint]: percent for fingerprint, percent in found.live.items()},
        }

    def _now(self) -> float:
        return time.time() + self.later_seconds


def outcomes_of_four_at_once(objects: list[ObjectStore]) -> list[str]:
    """Let four deploy at once, each with a store as a process of its own would have it; say what came of each."""
    start, outcomes, inside = threading.Barrier(4), list[str](), threading.Event()

    def deploy(store: ObjectStore) -> None:
        start.wait(30)
        try:
            with locked(store, "apply"):
                outcomes.append("proceeds")
                inside.wait(30)
        except LockHeld:
            outcomes.append("held")
            if outcomes.count("held") == 3:
                inside.set()

    threads = [threading.Thread(target=deploy, args=(store,)) for store in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(outcomes)


def kind_of(plan: Plan) -> list[str]:
    """Return a plan's steps by their names."""
    return [type(step).__name__ for step in plan.steps]
