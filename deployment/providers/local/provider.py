"""The provider of environments on this machine.

It writes what is wanted into the environment's records and has the supervisor make it so; the supervisor is
started by the first write that needs it. Reading never starts anything: an address that is recorded and that
nobody serves, after the machine was started again, is seen as a change to be made.
"""

from __future__ import annotations

import random
import shutil
import zipfile
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from deployment.bundles.exclusion import exclusive
from deployment.bundles.staging import BUILD_FOLDER
from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.errors import ProviderError, Refused, WorldMoved
from deployment.names import secret_name
from deployment.providers.local.control import Commands
from deployment.providers.local.folder_store import FolderStore
from deployment.providers.local.layout import Layout
from deployment.providers.local.listener import port_is_free
from deployment.providers.local.outside import Declared, load_outside
from deployment.providers.local.private_files import make_private
from deployment.providers.local.records import FunctionRecord, Records, RevisionRecord
from deployment.providers.local.secret_files import SecretFiles
from deployment.providers.local.starting import Supervision
from deployment.resources import Kind, Observed, ObservedFunction, ObservedResource, Properties, Revision
from deployment.states import FunctionState, SecretPin

ENVIRONMENTS = BUILD_FOLDER / "environments"
LOG_MAX_BYTES = 10 * 1024 * 1024
PORTS = range(20_000, 32_000)
"""Where addresses are chosen from: below those that systems give to outgoing connections, so that an address
is still free when the machine comes back."""
_PORT_TRIES = 50
_WHOLE = 100


class LocalProvider:
    """An environment in a folder of this machine, with a supervisor that runs it."""

    def __init__(
        self, environment: Environment, catalogue: Mapping[str, FunctionSpec], folder: Path | None = None
    ) -> None:
        """Prepare; nothing is read or started.

        Args:
            environment: what its file says.
            catalogue: every function there is.
            folder: where all of it is kept, `build/environments/<name>` by default.
        """
        self._environment = environment
        self._catalogue = catalogue
        self.layout = Layout(folder or ENVIRONMENTS / environment.name)
        self._records = Records(self.layout.folder)
        self._secrets = SecretFiles(self.layout.secrets)
        services = environment.services
        self.supervision = Supervision(self.layout, services.module if services else None)

    @cached_property
    def objects(self) -> FolderStore:
        return FolderStore(self.layout.objects)

    @property
    def secrets(self) -> SecretFiles:
        """Return the environment's secrets; those of the services are among them from the first look on."""
        _ = self._declared
        return self._secrets

    def check(self) -> None:
        """Return when the records can be read: there are no credentials on one's own machine."""
        self._records.read()

    def log_of(self, function: str) -> str:
        return str(self.layout.log(function))

    def variables(self) -> Mapping[str, str]:
        """Return the addresses of the services, which are chosen by the first look and kept."""
        return self._declared.variables

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        names = (secret_name(self._environment, name) for name in self._environment.secrets_of(spec))
        return {
            Kind.IDENTITY: {"secrets": sorted(names)},
            Kind.LOGS: {"file": str(self.layout.log(spec.name).name), "max_bytes": LOG_MAX_BYTES},
            Kind.ADDRESS: {"host": "127.0.0.1", "served": True},
            Kind.CAPACITY: {"stopped": stopped},
        }

    def observe(self, names: Sequence[str]) -> Observed:
        records = self._records.read()
        commands = self.supervision.running()
        served = (commands.status() if commands else None) or {}
        found = {name: _observed(records[name], served=name in served) for name in names if name in records}
        return Observed(found, artefacts=self._artefacts())

    def ensure(self, function: str, kind: Kind, properties: Properties) -> None:
        if kind is Kind.ADDRESS:
            self._ensure_address(function, properties)
            return
        with self._records.changing(function) as record:
            record.resources[kind] = dict(properties)
        if kind is Kind.CAPACITY:
            self._settle(function, ())

    def upload(self, code: str, package: Path) -> None:
        """Put a package, a zip or the folder of a staged bundle, into the store, unpacked."""
        target = self.layout.bundle(code)
        make_private(self.layout.artefacts)
        with exclusive(self.layout.artefacts):
            if target.is_dir():
                return
            aside = self.layout.artefacts / f".{code}"
            shutil.rmtree(aside, ignore_errors=True)
            if package.is_dir():
                shutil.copytree(package, aside)
            else:
                _unzip(package, aside)
            aside.rename(target)

    def publish(self, state: FunctionState) -> None:
        fingerprint = state.fingerprint
        if fingerprint is None:
            raise Refused(f"{state.name}: an address that its variables name is not known yet.")
        if not self.layout.bundle(state.code).is_dir():
            raise WorldMoved(f"The package of {state.name} is not in the store any more.")
        for pin in state.secrets.values():
            self._secrets.read(pin)
        with self._records.changing(state.name) as record:
            _refuse_foreign_secrets(state, record)
            if record.revision(fingerprint) is None:
                record.numbers += 1
                record.revisions.append(RevisionRecord(record.numbers, state))

    def candidate(self, function: str, fingerprint: str) -> str:
        commands = self._settle(function, [fingerprint])
        status = commands.status() or {}
        instance = status.get(function, {}).get("instances", {}).get(fingerprint, {})
        if not instance.get("port"):
            raise ProviderError(f"{function} has no revision {fingerprint} that listens.")
        return f"http://127.0.0.1:{instance['port']}"

    def shift(self, function: str, weights: Mapping[str, int]) -> None:
        record = self._records.read().get(function, FunctionRecord())
        shares = {_fingerprint_of(record, name): share for name, share in weights.items()}
        missing = [name for name in shares if record.revision(name) is None]
        if missing:
            raise WorldMoved(f"{function} has no revision {', '.join(missing)} any more.")
        if sum(shares.values()) != _WHOLE:
            raise Refused(f"{function}: the parts add up to {sum(shares.values())} %, not to {_WHOLE} %.")
        # All of them listen before the first call is led to any.
        self._settle(function, [name for name, share in shares.items() if share])
        with self._records.changing(function) as changed:
            changed.live = {name: share for name, share in shares.items() if share}
        self._settle(function, ())

    def prune(self, function: str, revision_id: str) -> None:
        with self._records.changing(function) as record:
            number = int(revision_id)
            for revision in record.revisions:
                if revision.number == number and record.live.get(revision.fingerprint):
                    raise Refused(f"Revision {revision_id} of {function} takes calls; it is not removed.")
            record.revisions = [each for each in record.revisions if each.number != number]

    def forget_artefact(self, code: str) -> None:
        if self.layout.bundle(code).is_dir():
            with exclusive(self.layout.artefacts):
                shutil.rmtree(self.layout.bundle(code), ignore_errors=True)

    def remove(self, function: str) -> None:
        """Remove a function; with the last one go the supervisor and the world around the environment."""
        self._records.forget(function)
        if self._records.read():
            if commands := self.supervision.running():
                commands.settle()
            return
        self.supervision.end()
        self._remove_services()
        for folder in (self.layout.artefacts, self.layout.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.layout.supervisor_lock, self.layout.endpoint):
            file.unlink(missing_ok=True)
        self._records.destroy()

    def end(self) -> None:
        """End everything that runs, and keep all that is recorded; the next write starts it again."""
        self.supervision.end()

    def client(self) -> httpx.Client:
        return httpx.Client(trust_env=False, verify=False, timeout=30)  # noqa: S501  # plain HTTP on one machine

    def close(self) -> None:
        """There are no connections to let go of."""

    @cached_property
    def _declared(self) -> Declared:
        """Return what the services declare; their secrets are in the store from then on."""
        module = self.supervision.services
        if module is None:
            return Declared({})
        declared = load_outside(module).declare(make_private(self.layout.services))
        for variable, value in {**declared.secrets, **declared.suggested}.items():
            name = secret_name(self._environment, variable)
            if not self._secrets.describe([name]):
                self._secrets.put(name, value, request_id="services")
        return declared

    def _remove_services(self) -> None:
        if not self.layout.services.is_dir():
            return
        declared = self._declared
        for variable in declared.secrets:
            self._secrets.remove(secret_name(self._environment, variable))
        for variable, value in declared.suggested.items():
            # What somebody chose himself may be written down nowhere else.
            name = secret_name(self._environment, variable)
            state = self._secrets.describe([name]).get(name)
            if state and self._secrets.read(SecretPin(name, state.current)) == value:
                self._secrets.remove(name)
        shutil.rmtree(self.layout.services, ignore_errors=True)

    def _ensure_address(self, function: str, properties: Properties) -> None:
        with self._records.changing(function) as record:
            record.resources[Kind.ADDRESS] = dict(properties)
            record.port = record.port or self._choose_port()
        self._settle(function, ())

    def _choose_port(self) -> int:
        taken = {record.port for record in self._records.read().values()}
        for port in random.sample(PORTS, _PORT_TRIES):
            if port not in taken and port_is_free(port):
                return port
        raise ProviderError(f"No free port was found between {PORTS.start} and {PORTS.stop}.")

    def _settle(self, function: str, run: Collection[str]) -> Commands:
        """Have the supervisor make it so, started if need be.

        Args:
            function: whose address must be served in the end; what others lack is no reason to fail, since
                it may be just this that is about to be put right.
            run: its revisions that must listen in the end, whether they take calls or not.

        Raises:
            ProviderError: the text says what could not be done, and why.
        """
        commands = self.supervision.started()
        problems = commands.settle((function, fingerprint) for fingerprint in run)
        ours = [each for each in problems if each.function == function and each.fingerprint in {"", *run}]
        if ours:
            raise ProviderError("\n".join(f"{function}: {each.text}" for each in ours))
        return commands

    def _artefacts(self) -> frozenset[str]:
        if not self.layout.artefacts.is_dir():
            return frozenset()
        found = (path.name for path in self.layout.artefacts.iterdir() if path.is_dir())
        return frozenset(name for name in found if not name.startswith("."))


def _observed(record: FunctionRecord, *, served: bool) -> ObservedFunction:
    resources: dict[Kind, ObservedResource] = {}
    for kind, properties in record.resources.items():
        seen: dict[str, Any] = dict(properties)
        if kind is Kind.ADDRESS:
            seen["served"] = served
        resources[kind] = ObservedResource(seen)
    revisions = tuple(Revision(each.fingerprint, str(each.number), each.number) for each in record.revisions)
    return ObservedFunction(resources, record.url, revisions, dict(record.live))


def _fingerprint_of(record: FunctionRecord, name: str) -> str:
    """Return the fingerprint that a weight names, by itself or as `id:<number>`."""
    if not name.startswith("id:"):
        return name
    found = (each.fingerprint for each in record.revisions if f"id:{each.number}" == name)
    return next(found, name)


def _refuse_foreign_secrets(state: FunctionState, record: FunctionRecord) -> None:
    allowed = record.resources.get(Kind.IDENTITY, {}).get("secrets", ())
    foreign = sorted({pin.name for pin in state.secrets.values()} - set(allowed))
    if foreign:
        raise Refused(f"{state.name} may not read {', '.join(foreign)}: its identity does not hold them.")


def _unzip(package: Path, folder: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
        for entry in archive.infolist():
            if mode := (entry.external_attr >> 16) & 0o777:
                (folder / entry.filename).chmod(mode | 0o600)
