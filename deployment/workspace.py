"""One environment, opened: its files, its provider, its past, and what a command does with them.

    files ─▶ Workspace ─▶ wanted ┐
             provider ─▶ observed ├─▶ plan ─▶ (lock) ─▶ executor ─▶ plan again, until there is nothing to do
             ledger   ─▶ past     ┘

A plan that is empty takes no lock: looking writes nothing. Whoever applies plans again under the lock, and
once more when it is done, so that what somebody stopped or changed meanwhile is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import httpx

from deployment.bundles.manifests import read_source
from deployment.catalogue import ROOT, FunctionSpec
from deployment.desired import as_left, as_released, wanted, with_pins, with_secrets_of
from deployment.environments import Environment
from deployment.errors import DeployError, MissingSecret, Refused, WorldMoved
from deployment.execution import Executor, Progress
from deployment.ledger import Release, past_of, releases
from deployment.lock import Lock, locked
from deployment.names import secret_name
from deployment.plan_file import refuse_if_moved
from deployment.planner import Canary, Desired, Past, make_plan, world_digest
from deployment.probing import SignedProber
from deployment.providers.interface import Provider
from deployment.qstash import QStash, SweepSchedule
from deployment.resources import Observed
from deployment.secret_store import SecretState
from deployment.states import SecretPin
from deployment.steps import Plan
from deployment.stops import Stop, stops
from deployment.verification import Table, Verifier
from shared.settings import SigningKeys

ROUNDS = 3
"""How often an apply plans again before it gives up: each time somebody else must have changed something."""
QSTASH_TOKEN = "QSTASH_TOKEN"  # noqa: S105  # the name, not a value
SIGNING_KEYS = ("QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")

Wanting = Callable[[Observed, Past], Desired]
"""Says what is wanted, given what is there and what was."""


@dataclass(frozen=True, slots=True)
class Package:
    """One function's package on this machine."""

    digest: str
    file: Path


@dataclass
class Workspace:
    """An environment and all that is needed to look at it and to change it."""

    environment: Environment
    specs: Mapping[str, FunctionSpec]
    provider: Provider
    who: str
    progress: Progress
    wait: Callable[[float], None] = time.sleep
    root: Path = ROOT
    packages: Mapping[str, Package] = field(default_factory=dict)
    """By function; what `build` made of the files as they are."""
    open_outside: Callable[[], httpx.Client] = httpx.Client
    """Makes the client that reaches QStash."""

    @property
    def names(self) -> list[str]:
        return list(self.specs)

    @cached_property
    def client(self) -> httpx.Client:
        """Return what reaches the functions' addresses."""
        return self.provider.client()

    def observe(self) -> Observed:
        """Return the environment as it is, the sweep's schedule included; reads only."""
        return self._with_schedule(self.provider.observe(self.names))

    def _with_schedule(self, observed: Observed) -> Observed:
        schedule = self.schedule()
        return replace(observed, schedule=schedule.observe() if schedule else None)

    def past(self) -> Past:
        keep = self.environment.releases.keep
        return past_of(releases(self.provider.objects, keep), keep)

    def stopped(self) -> dict[str, Stop]:
        return stops(self.provider.objects)

    def secrets(self) -> Mapping[str, SecretState]:
        """Return what the store has of the secrets that some function gets here, by name."""
        variables = {v for spec in self.specs.values() for v in self.environment.secrets_of(spec)}
        return self.provider.secrets.describe(
            sorted(secret_name(self.environment, variable) for variable in variables)
        )

    def as_files_want(self, observed: Observed, _past: Past) -> Desired:
        """Return what the files of this checkout want."""
        return wanted(
            self.environment,
            self.specs,
            self.provider,
            packages={name: package.digest for name, package in self.packages.items()},
            secrets=self.secrets(),
            stopped=self.stopped(),
            urls=observed.urls,
        )

    def as_released(self, release: Release, *, present_secrets: bool = False) -> Wanting:
        """Return what a release was, with its own secrets' versions or with those of the newest release."""

        def want(_observed: Observed, past: Past) -> Desired:
            target = as_released(self.environment, self.specs, self.provider, release, stopped=self.stopped())
            return with_secrets_of(target, past.states) if present_secrets else target

        return want

    def as_left(self, release: Release) -> Wanting:
        """Return what the newest release left behind, the sweep's schedule included."""

        def want(observed: Observed, past: Past) -> Desired:
            return as_left(self.as_released(release)(observed, past), release, observed.urls)

        return want

    def with_present(self, variables: Collection[str]) -> Wanting:
        """Return the newest release with the present versions of some secrets, and nothing else changed."""

        def want(_observed: Observed, _past: Past) -> Desired:
            newest = self.newest()
            target = as_released(self.environment, self.specs, self.provider, newest, stopped=self.stopped())
            pins = {v: pin for v in variables if (pin := self.current_pin(v)) is not None}
            return with_pins(target, self.specs, pins)

        return want

    def plan(self, want: Wanting, canary: Canary | None = None) -> Plan:
        """Return what leads from what is there to what is wanted; writes nothing."""
        observed, past = self.provider.observe(self.names), self.past()
        desired = want(observed, past)
        if desired.schedule is not None:  # else QStash may be away: a rollback must be possible all the same
            observed = self._with_schedule(observed)
        return make_plan(desired, observed, past, canary)

    def apply(self, want: Wanting, command: str, canary: Canary | None = None) -> list[Plan]:
        """Bring the environment to what is wanted, and return what was done, round by round.

        Raises:
            LockHeld: somebody else does so now.
            DeployError: a step failed; what was live before is live again.
        """
        if self.plan(want, canary).empty:
            return []
        self.provider.objects.ensure()
        with locked(self.provider.objects, command) as lock:
            return self.apply_under(lock, want, canary)

    def apply_under(self, lock: Lock, want: Wanting, canary: Canary | None = None) -> list[Plan]:
        """Do what `apply` does under a lock that is held already, for commands that apply more than once."""
        done: list[Plan] = []
        while not (plan := self.plan(want, canary)).empty:
            if len(done) == ROUNDS:
                raise WorldMoved(f"Somebody else keeps changing {self.environment.name}; this apply gave up.")
            self.executor(lock).run(plan)
            done.append(plan)
        return done

    def apply_saved(self, plan: Plan, command: str) -> None:
        """Perform a saved plan.

        Raises:
            Refused: it was made for another environment.
            WorldMoved: the environment is no longer as the plan was made from; nothing was done.
        """
        if plan.environment != self.environment.name:
            raise Refused(
                f"This plan was made for {plan.environment}, not for {self.environment.name}. "
                "Nothing was done."
            )
        refuse_if_moved(plan, world_digest(self.observe(), self.past()))
        if plan.empty:
            return
        self.provider.objects.ensure()
        with locked(self.provider.objects, command) as lock:
            refuse_if_moved(plan, world_digest(self.observe(), self.past()))
            self.executor(lock).run(plan)

    def executor(self, lock: Lock) -> Executor:
        return Executor(
            provider=self.provider,
            lock=lock,
            prober=self.prober(),
            scheduler=_LateScheduler(self),
            progress=self.progress,
            packages={package.digest: package.file for package in self.packages.values()},
            who=self.who,
            revision=git_revision(self.root),
            wait=self.wait,
        )

    def prober(self) -> SignedProber:
        """Return what asks a revision whether it works."""
        return SignedProber(
            self.provider.secrets,
            self.client,
            self.address_of,
            log_of=self.provider.log_of,
            stopped=self.stopped,
        )

    def address_of(self, function: str) -> str:
        """Return a function's public address.

        Raises:
            DeployError: it has none yet.
        """
        return self._address(function, self.provider.observe([function]).urls)

    def _address(self, function: str, observed: Mapping[str, str]) -> str:
        url = self.environment.urls.get(function) or observed.get(function)
        if url is None:
            raise DeployError(f"{function} has no address in {self.environment.name} yet.")
        return url

    def verify(self, refused_keys: Mapping[str, str] | None = None) -> Table:
        """Ask every deployed function everything that it must accept or refuse.

        Raises:
            Refused: nothing has been released here yet.
        """
        newest = self.newest()
        observed = self.provider.observe(list(newest.states)).urls
        return Verifier(
            urls={name: self._address(name, observed) for name in newest.states},
            keys=self.pinned_keys(newest),
            client=self.client,
            stopped=self.stopped(),
            refused_keys=refused_keys,
        ).verify()

    def newest(self) -> Release:
        """Return the newest release.

        Raises:
            Refused: there is none.
        """
        found = releases(self.provider.objects, newest=1)
        if not found:
            raise Refused(f"Nothing has been released to {self.environment.name} yet: apply first.")
        return found[0]

    def pinned_keys(self, release: Release | None = None) -> SigningKeys:
        """Return the values of the signing keys that a release pins, the newest by default."""
        states = (release or self.newest()).states
        holder = next(state for state in states.values() if SIGNING_KEYS[0] in state.secrets)
        current, following = (self.provider.secrets.read(holder.secrets[name]) for name in SIGNING_KEYS)
        return SigningKeys(current=current, next=following)

    def current_pin(self, variable: str) -> SecretPin | None:
        """Return the version of a secret that new revisions pin; None when it has no value."""
        name = secret_name(self.environment, variable)
        known = self.provider.secrets.describe([name]).get(name)
        return SecretPin(name, known.current) if known else None

    def qstash(self, token: str | None = None) -> QStash:
        """Return QStash's management API, with the environment's token or another one.

        Raises:
            MissingSecret: the token has no value.
            Refused: the environment does not say where QStash is.
        """
        url = self.environment.variables.get("QSTASH_URL")
        if url is None:
            raise Refused(f"{self.environment.file}: [variables] QSTASH_URL: is missing")
        token = token or self._token()
        if token is None:
            raise MissingSecret(f"{QSTASH_TOKEN} has no value in {self.environment.name}.")
        return QStash(url, token, self._outside)

    def schedule(self) -> SweepSchedule | None:
        """Return the sweep's schedule; None while QStash's token has no value."""
        token = self._token()
        if token is None:
            return None
        own_qstash = self.environment.services is not None
        return SweepSchedule(self.qstash(token), self.environment.name, absent_when_unreachable=own_qstash)

    def _token(self) -> str | None:
        pin = self.current_pin(QSTASH_TOKEN)
        return self.provider.secrets.read(pin) if pin else None

    def close(self) -> None:
        """Let go of connections."""
        for name in ("client", "_outside"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self.provider.close()

    @cached_property
    def _outside(self) -> httpx.Client:
        return self.open_outside()


@dataclass(frozen=True, slots=True)
class _LateScheduler:
    """The schedule, opened when its step comes: before the first apply there may be nobody to ask."""

    workspace: Workspace

    def ensure(self, properties: Mapping[str, object]) -> None:
        schedule = self.workspace.schedule()
        if schedule is None:
            raise MissingSecret(f"{QSTASH_TOKEN} has no value in {self.workspace.environment.name}.")
        schedule.ensure(properties)


def git_revision(root: Path) -> str:
    """Return the commit that is checked out, `+changes` after it where files differ; empty when unknown."""
    source = read_source(root)
    return f"{source.revision[:12]}{'+changes' if source.dirty else ''}" if source else ""
