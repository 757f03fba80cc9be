"""GcpProvider: one environment on Google Cloud, the interface handed on to the parts that know how."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import httpx
from google.cloud.run_v2.types import RevisionTemplate

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.errors import Refused, WorldMoved
from deployment.names import secret_name
from deployment.objects import Condition, Conflict
from deployment.policies import gcp_bindings, images_folder
from deployment.providers.gcp import address, capacity, identity
from deployment.providers.gcp.bindings import Policies, Policy
from deployment.providers.gcp.bucket import Bucket
from deployment.providers.gcp.calls import Calls, GcpError
from deployment.providers.gcp.clients import Access, Clients
from deployment.providers.gcp.led import led_by
from deployment.providers.gcp.names import PACKAGES, Names, code_of, package_key
from deployment.providers.gcp.packages import as_tar_gz, placeholder_package
from deployment.providers.gcp.revisions import Revisions
from deployment.providers.gcp.secrets import Secrets
from deployment.providers.gcp.services import Services
from deployment.providers.gcp.template import Source, placeholder_of, template_of
from deployment.providers.gcp.traffic import Traffic
from deployment.providers.observing import of_each
from deployment.resources import Kind, Observed, ObservedFunction, ObservedResource, Properties
from deployment.states import FunctionState

AT_ONCE = 8
"""Functions that are looked at at the same time."""
PROBE_TIMEOUT_SECONDS = 60.0
PLACEHOLDER_KEY = "placeholder/1.tar.gz"
"""Not among the packages: no release is made of it."""


class GcpProvider:
    """One environment on Google Cloud (`deployment.providers.interface.Provider`).

    Args:
        environment: the environment; it has a table [gcp].
        catalogue: the functions, with the environment's overrides.
        access: credentials, and where the APIs are.
        transport: how services are reached, for an emulator; None: as any address is.
        wait: waits so many seconds.
        at_once: functions that are looked at at the same time.
        clients: Google's clients, where they are shared; None: this provider's own.
    """

    def __init__(
        self,
        environment: Environment,
        catalogue: Mapping[str, FunctionSpec],
        access: Access,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
        at_once: int = AT_ONCE,
        clients: Clients | None = None,
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._transport = transport
        self._at_once = at_once
        self._calls = Calls(wait)
        self._names = Names(environment)
        self._own_clients = clients is None
        self._clients = clients or Clients(access, self._names.place.project)

    @cached_property
    def objects(self) -> Bucket:
        return Bucket(self._clients.storage, self._calls, self._names)

    @cached_property
    def secrets(self) -> Secrets:
        return Secrets(self._clients.secrets, self._calls, self._names)

    def check(self) -> None:
        place, file = self._names.place, self._environment.file
        try:
            found = self._calls(self._clients.rest.get, "cloudresourcemanager", f"/v1/{self._names.project}")
        except GcpError as error:
            if error.missing or error.forbidden:
                raise Refused(
                    f"The credentials do not lead to the project {place.project}, which {file} declares: "
                    f"{error.message} Nothing was changed."
                ) from error
            raise
        if found.get("projectNumber") != place.project_number:
            raise Refused(
                f"The project {place.project} has the number {found.get('projectNumber')}, and {file} "
                f"declares {place.project_number}. Nothing was changed: addresses are made of the number."
            )

    def log_of(self, function: str) -> str:
        return f"Cloud Logging, the service {self._names.service(function)}"

    def variables(self) -> Mapping[str, str]:
        return {}

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        return {
            Kind.IDENTITY: identity.wanted(gcp_bindings(spec, self._environment)),
            Kind.ADDRESS: address.wanted(),
            Kind.CAPACITY: capacity.wanted(spec.min_instances, spec.max_instances, stopped=stopped),
        }

    def observe(self, names: Sequence[str]) -> Observed:
        found = self._of_each(names)
        artefacts = frozenset(code_of(key) for key in self.objects.list(PACKAGES))
        return Observed({name: each for name, each in found.items() if each.resources}, artefacts)

    def ensure(self, function: str, kind: Kind, properties: Properties) -> None:
        match kind:
            case Kind.IDENTITY:
                bindings = gcp_bindings(self._catalogue[function], self._environment)
                self._identities.ensure(function, bindings)
            case Kind.LOGS:
                return  # Cloud Logging has them for the whole project
            case Kind.ADDRESS:
                self._addresses.ensure(function, properties, self._placeholder(function))
            case Kind.CAPACITY:
                self._capacities.ensure(function, properties)

    def upload(self, code: str, package: Path) -> None:
        key = package_key(code)
        if self.objects.generation_of(key) is None:
            self._store(key, as_tar_gz(package))

    def publish(self, state: FunctionState) -> None:
        if state.architecture != "x86_64":
            raise Refused(f"{state.name} is packaged for {state.architecture}: Cloud Run has x86_64 alone.")
        fingerprint = state.fingerprint
        assert fingerprint is not None, "a state is resolved before it is published"
        source = self._source(package_key(state.code))
        template = template_of(state, account=self._names.account(state.name), source=source)
        self._revisions.publish(state.name, fingerprint, template)

    def candidate(self, function: str, fingerprint: str) -> str:
        return self._names.url(function, self._traffic.nominate(function, fingerprint))

    def shift(self, function: str, weights: Mapping[str, int]) -> None:
        self._traffic.shift(function, weights)

    def prune(self, function: str, revision_id: str) -> None:
        service = self._services.find(function)
        if service is None:
            return
        self._services.refuse_foreign(function, service)
        if not revision_id.startswith(f"{self._names.service(function)}-"):
            raise Refused(f"{revision_id or 'nothing'} is no revision of {self._names.service(function)}.")
        if revision_id in led_by(service).weights:
            raise Refused(f"{revision_id} takes calls of {function} and is not removed.")
        self._traffic.retreat(function, service, revision_id)
        self._revisions.prune(function, revision_id)

    def forget_artefact(self, code: str) -> None:
        self.objects.delete(package_key(code))

    def remove(self, function: str) -> None:
        self._services.remove(function)
        self._identities.remove(function)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=self._transport, timeout=PROBE_TIMEOUT_SECONDS)

    def close(self) -> None:
        if self._own_clients:
            self._clients.close()

    @cached_property
    def _services(self) -> Services:
        return Services(self._clients.services, self._calls, self._names)

    @cached_property
    def _revisions(self) -> Revisions:
        return Revisions(self._clients.revisions, self._services)

    @cached_property
    def _traffic(self) -> Traffic:
        return Traffic(self._services, self._revisions)

    @cached_property
    def _addresses(self) -> address.Addresses:
        return address.Addresses(self._services)

    @cached_property
    def _capacities(self) -> capacity.Capacities:
        return capacity.Capacities(self._services)

    @cached_property
    def _identities(self) -> identity.Identities:
        policies = Policies(self._clients.rest, self._calls)
        return identity.Identities(
            self._clients.rest, self._calls, self._names, policies, self._resources_with_policies()
        )

    def _resources_with_policies(self) -> list[str]:
        """Return everything on which a function could have a role."""
        variables = {v for spec in self._catalogue.values() for v in self._environment.secrets_of(spec)}
        secrets = sorted(secret_name(self._environment, variable) for variable in variables)
        folder = images_folder(self._environment)
        images = [f"projects/_/buckets/{folder.bucket}"] if folder else []
        return [*(self._names.secret(secret) for secret in secrets), *images, self._names.project]

    def _placeholder(self, function: str) -> RevisionTemplate:
        if self.objects.generation_of(PLACEHOLDER_KEY) is None:
            self._store(PLACEHOLDER_KEY, placeholder_package())
        template = placeholder_of(
            account=self._names.account(function),
            source=self._source(PLACEHOLDER_KEY),
            python=self._environment.target.python,
        )
        template.revision = self._revisions.placeholder(function)
        return template

    def _store(self, key: str, content: bytes) -> None:
        try:
            self.objects.put(key, content, only_if=Condition.ABSENT)
        except Conflict:
            return  # it is named by its content

    def _source(self, key: str) -> Source:
        generation = self.objects.generation_of(key)
        if generation is None:
            raise WorldMoved(f"The package {key} is not in {self.objects.name}: plan again.")
        return Source(self.objects.name, key, generation)

    def _of_each(self, names: Sequence[str]) -> dict[str, ObservedFunction]:
        # Clients are made here first, before several threads ask for them.
        policies, _ = self._identities.look(), self._traffic
        return of_each(names, lambda name: self._observed(name, policies), self._at_once)

    def _observed(self, name: str, policies: Mapping[str, Policy | None]) -> ObservedFunction:
        bindings = gcp_bindings(self._catalogue[name], self._environment)
        resources: dict[Kind, ObservedResource] = {}
        if (account := self._identities.observe(name, bindings, policies)) is not None:
            resources[Kind.IDENTITY] = account
        service = self._services.find(name)
        if service is None:
            return ObservedFunction(resources)
        if not self._services.is_ours(name, service):
            return ObservedFunction({**resources, Kind.ADDRESS: ObservedResource({}, ours=False)})
        resources[Kind.ADDRESS] = address.observed(service)
        resources[Kind.CAPACITY] = capacity.observed(service)
        revisions = tuple(self._revisions.all_of(name))
        live = self._traffic.live(name, service)
        return ObservedFunction(resources, self._names.url(name), revisions, live)
