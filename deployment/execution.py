"""The executor: performs a plan's steps one by one, goes back when a release does not hold, shows progress.

It decides nothing that the planner has not decided. Before each write it asks whether the lock is still
its own. When a probe fails, the provider refuses, or somebody presses Ctrl-C after the first shift and
before the last, every function goes back to what was live before: a release goes live whole or not at
all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deployment.errors import DeployError, LockLost
from deployment.ledger import Release, now_seconds, record
from deployment.lock import Lock
from deployment.planner import WHOLE
from deployment.providers.interface import Provider
from deployment.resources import Properties
from deployment.states import FunctionState, references_in, resolve
from deployment.steps import (
    Ensure,
    EnsureSchedule,
    ForgetArtefact,
    Plan,
    Probe,
    Prune,
    Publish,
    Record,
    Settle,
    Shift,
    Step,
    Upload,
)


class Prober(Protocol):
    """Asks a running function whether it works and lets in whom it should."""

    def probe(self, state: FunctionState, url: str) -> None:
        """Return when the function at `url`, made of `state`, answers as it must.

        Raises:
            ProbeFailed: it does not; the text says what was asked and what came.
        """


class Scheduler(Protocol):
    """Makes QStash call the sweep."""

    def ensure(self, properties: Properties) -> None: ...


class Progress(Protocol):
    """What the one who waits is shown."""

    def begin(self, number: int, total: int, step: Step) -> None: ...
    def done(self, step: Step) -> None: ...
    def going_back(self, why: BaseException) -> None: ...


@dataclass
class Executor:
    """Performs plans on one provider, under one lock."""

    provider: Provider
    lock: Lock
    prober: Prober
    scheduler: Scheduler
    progress: Progress
    packages: Mapping[str, Path]
    """Where the packages lie on this machine, by content digest."""
    who: str
    revision: str
    wait: Callable[[float], None]
    """Waits so many seconds."""
    _urls: dict[str, str] = field(default_factory=dict)
    _shifted: dict[str, Shift] = field(default_factory=dict)

    def run(self, plan: Plan) -> None:
        """Perform a plan.

        Raises:
            DeployError: a step failed. Before anything was shifted, the environment serves as before; after,
                every function has been led back. Applying again goes on from what is there.
        """
        total = len(plan.steps)
        try:
            for number, step in enumerate(plan.steps, start=1):
                self.progress.begin(number, total, step)
                self.lock.check()
                self._perform(step)
                self.progress.done(step)
        except (DeployError, KeyboardInterrupt) as failed:
            self._go_back(failed)
            raise

    def _perform(self, step: Step) -> None:  # noqa: C901  # a line for each kind of step
        match step:
            case Ensure():
                self.provider.ensure(step.function, step.kind, step.properties)
            case Upload():
                self.provider.upload(step.code, self._package(step))
            case Publish():
                self.provider.publish(self._resolved(step.state))
            case Probe():
                state = self._resolved(step.state)
                self.prober.probe(state, self.provider.candidate(step.function, _fingerprint(state)))
            case Shift():
                self._shift(step)
            case Settle():
                self._settle(step)
            case EnsureSchedule():
                self.scheduler.ensure(self._with_urls(step.properties))
            case Record():
                self._record(step)
            case Prune():
                self.provider.prune(step.function, step.revision_id)
            case ForgetArtefact():
                self.provider.forget_artefact(step.code)

    def _package(self, step: Upload) -> Path:
        if step.code not in self.packages:
            raise DeployError(
                f"The package of {step.function} with the digest {step.code[:12]} is not on this machine: "
                "check out what the plan was made from and run `build --package`."
            )
        return self.packages[step.code]

    def _shift(self, step: Shift) -> None:
        state = self._resolved(step.state)
        fingerprint = _fingerprint(state)
        weights = {fingerprint: step.percent}
        if step.percent < WHOLE:
            # The rest goes to whatever had most of the calls: two revisions at once are all a provider can.
            former = max((name for name in step.before if name != fingerprint), key=lambda n: step.before[n])
            weights[former] = WHOLE - step.percent
        self._shifted.setdefault(step.function, step)
        self.provider.shift(step.function, weights)

    def _settle(self, step: Settle) -> None:
        self.wait(step.seconds)
        for function in step.functions:
            shift = self._shifted[function]
            state = self._resolved(shift.state)
            self.prober.probe(state, self.provider.candidate(function, _fingerprint(state)))

    def _record(self, step: Record) -> None:
        states = {name: self._resolved(state) for name, state in step.states.items()}
        release = Release(
            number=step.number,
            at=now_seconds(),
            who=self.who,
            note=step.note,
            revision=self.revision,
            token=self.lock.token,
            states=states,
            settings=step.settings,
        )
        record(self.provider.objects, release)
        self._shifted.clear()  # the release is whole: what fails from here on is no reason to go back
        self.provider.secrets.keep_only(step.secrets)

    def _resolved(self, state: FunctionState) -> FunctionState:
        return state.resolved(self._urls_of(state.references))

    def _with_urls(self, properties: Properties) -> Properties:
        urls = self._urls_of(references_in(v for v in properties.values() if isinstance(v, str)))
        return {name: resolve(v, urls) if isinstance(v, str) else v for name, v in properties.items()}

    def _urls_of(self, functions: frozenset[str]) -> Mapping[str, str]:
        """Return these functions' addresses: they never change, so each is looked up once."""
        if unknown := functions - self._urls.keys():
            self._urls |= self.provider.observe(sorted(unknown)).urls
        if unknown := functions - self._urls.keys():
            raise DeployError(f"There is no address of {', '.join(sorted(unknown))} yet.")
        return self._urls

    def _go_back(self, failed: BaseException) -> None:
        if not self._shifted or isinstance(failed, LockLost):
            return
        self.progress.going_back(failed)
        for function, shift in reversed(list(self._shifted.items())):
            if not shift.before:  # before its first release there is nothing to go back to
                continue
            try:
                self.provider.shift(function, shift.before)
            except DeployError as stuck:  # the others go back all the same
                failed.add_note(f"{function} could not be led back: {stuck}")
        self._shifted = {}


def _fingerprint(state: FunctionState) -> str:
    fingerprint = state.fingerprint
    assert fingerprint is not None, "a state is resolved before it is performed"
    return fingerprint
