"""A provider in memory, for the rules of planner, executor, lock and ledger; it can be killed at any write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from deployment.catalogue import FunctionSpec
from deployment.errors import ForeignResource, ProbeFailed, Refused, WorldMoved
from deployment.execution import Executor
from deployment.ledger import past_of, releases
from deployment.lock import Lock, locked
from deployment.objects import Condition, Conflict, Stored
from deployment.planner import Canary, Desired, Past, make_plan
from deployment.resources import (
    Kind,
    Observed,
    ObservedFunction,
    ObservedResource,
    Properties,
    Revision,
)
from deployment.secret_store import SecretState, SecretStore
from deployment.states import FunctionState, SecretPin, url_reference
from deployment.steps import Plan, Step, Upload

ORDER = ("lane_a", "lane_b", "events", "actions")


class Killed(BaseException):
    """The process ended at once, as `kill -9` ends it."""


@dataclass
class MemoryObjects:
    """A bucket in memory."""

    held: dict[str, Stored] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    versions: Any = field(default_factory=itertools.count)

    def ensure(self) -> None: ...

    def get(self, key: str) -> Stored | None:
        return self.held.get(key)

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        there = self.held.get(key)
        expected = {Condition.ANY: True, Condition.ABSENT: there is None}.get(
            only_if, there is not None and there.version == only_if
        )
        if not expected:
            raise Conflict(key)
        self.writes.append(key)
        self.held[key] = Stored(content, str(next(self.versions)))
        return self.held[key].version

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.held if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self.held.pop(key, None)

    def destroy(self) -> None:
        self.held.clear()


@dataclass
class NoSecrets:
    """A store that nobody asks; it notes what is to be kept."""

    kept: list[set[SecretPin]] = field(default_factory=list)

    def describe(self, names: object) -> Mapping[str, SecretState]:
        return {}

    def read(self, pin: SecretPin) -> str:
        raise AssertionError(pin)

    def put(self, name: str, value: str, *, request_id: str) -> str:
        raise AssertionError(name)

    def keep_only(self, pins: Iterable[SecretPin]) -> None:
        self.kept.append(set(pins))

    def remove(self, name: str) -> None: ...


@dataclass
class Machine:
    """What the memory provider holds of one function."""

    resources: dict[Kind, Properties] = field(default_factory=dict)
    revisions: list[Revision] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    candidate: str = ""
    foreign: set[Kind] = field(default_factory=set)


@dataclass
class MemoryProvider:
    """A provider in memory. `kill_at` ends the process at that write, before or after it took effect."""

    machines: dict[str, Machine] = field(default_factory=dict)
    artefacts: set[str] = field(default_factory=set)
    bucket: MemoryObjects = field(default_factory=MemoryObjects)
    no_secrets: NoSecrets = field(default_factory=NoSecrets)
    schedule: ObservedResource | None = None
    writes: list[str] = field(default_factory=list)
    shown: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    kill_at: int | None = None
    kill_after: bool = False

    @property
    def objects(self) -> MemoryObjects:
        return self.bucket

    @property
    def secrets(self) -> SecretStore:
        return self.no_secrets

    def check(self) -> None: ...

    def log_of(self, function: str) -> str:
        return f"the log of {function}"

    def variables(self) -> Mapping[str, str]:
        return {}

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        raise AssertionError(spec, stopped)

    def observe(self, names: Sequence[str]) -> Observed:
        return Observed(
            {name: self._observed(name) for name in names if name in self.machines},
            frozenset(self.artefacts),
            self.schedule,
        )

    def _observed(self, name: str) -> ObservedFunction:
        machine = self.machines[name]
        return ObservedFunction(
            resources={
                kind: ObservedResource(dict(properties), kind not in machine.foreign)
                for kind, properties in machine.resources.items()
            },
            url=f"https://{name}.example" if Kind.ADDRESS in machine.resources else None,
            revisions=tuple(machine.revisions),
            live=dict(machine.live),
        )

    def ensure(self, function: str, kind: Kind, properties: Properties) -> None:
        machine = self.machines.setdefault(function, Machine())
        if kind in machine.foreign:
            raise ForeignResource(f"{function}/{kind}")
        self._write(
            f"ensure {function}/{kind}", lambda: machine.resources.__setitem__(kind, dict(properties))
        )

    def upload(self, code: str, package: Path) -> None:
        assert package.name == code
        self._write(f"upload {code}", lambda: self.artefacts.add(code))

    def publish(self, state: FunctionState) -> None:
        assert state.code in self.artefacts
        machine = self.machines[state.name]
        fingerprint = state.fingerprint or ""
        if fingerprint in {revision.fingerprint for revision in machine.revisions}:
            return
        number = 1 + max((revision.number for revision in machine.revisions), default=0)
        made = Revision(fingerprint, str(number), number)
        self._write(f"publish {state.name}", lambda: machine.revisions.append(made))

    def candidate(self, function: str, fingerprint: str) -> str:
        machine = self.machines[function]
        if machine.candidate != fingerprint:
            self._write(f"candidate {function}", lambda: setattr(machine, "candidate", fingerprint))
        return f"https://candidate.{function}.example"

    def shift(self, function: str, weights: Mapping[str, int]) -> None:
        machine = self.machines[function]
        known = {r.fingerprint for r in machine.revisions} | {f"id:{r.id}" for r in machine.revisions}
        assert sum(weights.values()) == 100
        assert len(weights) <= 2
        if not weights.keys() <= known:
            raise WorldMoved(f"{function}: {weights}")
        self.shown.append((function, dict(weights)))
        self._write(f"shift {function}", lambda: setattr(machine, "live", dict(weights)))

    def prune(self, function: str, revision_id: str) -> None:
        machine = self.machines[function]
        kept = [revision for revision in machine.revisions if revision.id != revision_id]
        gone = {r.fingerprint for r in machine.revisions if r.id == revision_id} | {f"id:{revision_id}"}
        if gone & machine.live.keys():
            raise Refused(f"{function} {revision_id} takes calls")
        self._write(f"prune {function}", lambda: setattr(machine, "revisions", kept))

    def forget_artefact(self, code: str) -> None:
        self._write(f"forget {code}", lambda: self.artefacts.discard(code))

    def remove(self, function: str) -> None:
        self._write(f"remove {function}", lambda: self.machines.pop(function, None))

    def client(self) -> httpx.Client:
        raise AssertionError

    def close(self) -> None: ...

    def set_schedule(self, properties: Properties) -> None:
        resource = ObservedResource(dict(properties))
        self._write("schedule", lambda: setattr(self, "schedule", resource))

    def _write(self, what: str, act: Any) -> None:
        here = len(self.writes) == self.kill_at
        self.writes.append(what)
        if here and not self.kill_after:
            raise Killed(what)
        act()
        if here:
            raise Killed(what)


@dataclass
class Answers:
    """A prober: says no to the code of `broken`."""

    broken: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    interrupt_at: int | None = None

    def probe(self, state: FunctionState, url: str) -> None:
        self.asked.append((state.name, state.fingerprint or ""))
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        if state.code in self.broken:
            raise ProbeFailed(f"{state.name} at {url} does not answer")


@dataclass
class Schedules:
    """A scheduler that writes into the provider."""

    provider: MemoryProvider

    def ensure(self, properties: Properties) -> None:
        self.provider.set_schedule(properties)


class Quiet:
    """A progress that nobody sees."""

    def begin(self, number: int, total: int, step: Step) -> None: ...
    def done(self, step: Step) -> None: ...
    def going_back(self, why: BaseException) -> None: ...


def state(name: str, code: str = "c0ffee", **variables: str) -> FunctionState:
    """Return a function's state; `actions` knows every lane's address."""
    known = {"ROUTE_URL": url_reference(name)} if name.startswith("lane") else {}
    if name == "actions":
        known = {f"{lane.upper()}_URL": url_reference(lane) for lane in ORDER if lane.startswith("lane")}
    return FunctionState(
        name, code * 6, known | variables, {"KEY": SecretPin("key", "v1")}, 512, 30, 8, "3.13", "x86_64"
    )


def desired(*states: FunctionState, keep: int = 3, **settings: Any) -> Desired:
    """Return what is wanted: these states, of all functions or some of them."""
    wanted = {name: state(name) for name in ORDER} | {each.name: each for each in states}
    resources: dict[str, dict[Kind, Properties]] = {
        name: {
            Kind.IDENTITY: {"policy": f"of {name}"},
            Kind.LOGS: {"days": 30},
            Kind.ADDRESS: {"public": True},
            Kind.CAPACITY: {"reserved": 8},
        }
        for name in wanted
    }
    for name, changed in settings.items():
        resources[name] |= changed
    schedule = {"destination": f"{url_reference('actions')}/callbacks/sweep", "cron": "*/5 * * * *"}
    return Desired("staging", wanted, resources, schedule, keep)


def past(provider: MemoryProvider, keep: int = 3) -> Past:
    return past_of(releases(provider.objects), keep)


def plan(wanted: Desired, provider: MemoryProvider, canary: Canary | None = None) -> Plan:
    """Return what leads from what is there to what is wanted."""
    observed = provider.observe(list(wanted.states))
    schedule = dict(wanted.schedule or {})
    if "actions" in observed.urls:
        schedule = {k: v.replace("${url:actions}", observed.urls["actions"]) for k, v in schedule.items()}
    resolved = replace(wanted, schedule=schedule)
    return make_plan(resolved, observed, past(provider, wanted.keep), canary)


def perform(
    planned: Plan, provider: MemoryProvider, prober: Answers | None = None, lock: Lock | None = None
) -> list[float]:
    """Perform a plan as the command does, and return for how many seconds it waited."""
    waits: list[float] = []

    def run(held: Lock) -> None:
        codes = [step.code for step in planned.steps if isinstance(step, Upload)]
        executor = Executor(
            provider=provider,
            lock=held,
            prober=prober or Answers(),
            scheduler=Schedules(provider),
            progress=Quiet(),
            packages={code: Path(code) for code in codes},
            who="ann",
            revision="abc",
            wait=waits.append,
        )
        executor.run(planned)

    if lock is not None:
        run(lock)
    else:
        with locked(provider.objects, "apply") as held:
            run(held)
    return waits


def apply(wanted: Desired, provider: MemoryProvider, **how: Any) -> Plan:
    """Plan and perform."""
    planned = plan(wanted, provider, how.pop("canary", None))
    perform(planned, provider, **how)
    return planned
