"""AwsProvider: one environment on AWS, the interface handed on to the parts that know how."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import boto3
import httpx

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.errors import Refused, WorldMoved
from deployment.names import log_group
from deployment.objects import Condition, Conflict
from deployment.policies import aws_policy, aws_trust
from deployment.providers.aws import address, capacity, identity, logs
from deployment.providers.aws.bucket import Bucket
from deployment.providers.aws.calls import CLIENT_CONFIG, Calls
from deployment.providers.aws.configuration import Blueprint, settings_of
from deployment.providers.aws.functions import Functions
from deployment.providers.aws.names import PACKAGES, Names, code_of, package_key
from deployment.providers.aws.permissions import Permissions
from deployment.providers.aws.placeholder import placeholder
from deployment.providers.aws.revisions import Versions, revision_of
from deployment.providers.aws.secrets import Secrets
from deployment.providers.aws.traffic import LIVE, Traffic, live_of
from deployment.providers.observing import of_each
from deployment.resources import Kind, Observed, ObservedFunction, ObservedResource, Properties
from deployment.states import FunctionState

AT_ONCE = 8
"""Functions that are looked at at the same time."""
PROBE_TIMEOUT_SECONDS = 60.0


class AwsProvider:
    """One environment on AWS (`deployment.providers.interface.Provider`).

    Args:
        environment: the environment; it has a table [aws].
        catalogue: the functions, with the environment's overrides.
        session: credentials and region; its clients may lead to an emulator.
        transport: how function URLs are reached, for an emulator; None: as any address is.
        wait: waits so many seconds.
        at_once: functions that are looked at at the same time.
    """

    def __init__(
        self,
        environment: Environment,
        catalogue: Mapping[str, FunctionSpec],
        session: boto3.Session,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
        at_once: int = AT_ONCE,
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._session = session
        self._transport = transport
        self._at_once = at_once
        self._calls = Calls(wait)
        self._names = Names(environment)

    @cached_property
    def objects(self) -> Bucket:
        return Bucket(
            self._session.client("s3", self._region, config=CLIENT_CONFIG), self._calls, self._names
        )

    @cached_property
    def secrets(self) -> Secrets:
        client = self._session.client("secretsmanager", self._region, config=CLIENT_CONFIG)
        return Secrets(client, self._calls, self._names)

    def check(self) -> None:
        sts = self._session.client("sts", self._region, config=CLIENT_CONFIG)
        account, declared = self._calls(sts.get_caller_identity)["Account"], self._names.place.account
        if account != declared:
            raise Refused(
                f"The credentials lead to the AWS account {account}, and {self._environment.file} declares "
                f"{declared}. Nothing was changed. Choose other credentials (AWS_PROFILE)."
            )

    def log_of(self, function: str) -> str:
        return f"CloudWatch Logs, {log_group(self._environment, function)}"

    def variables(self) -> Mapping[str, str]:
        return {}

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        trust, policy = aws_trust(self._environment), aws_policy(spec, self._environment)
        return {
            Kind.IDENTITY: identity.wanted(trust, policy),
            Kind.LOGS: logs.wanted(spec.log_retention_days),
            Kind.ADDRESS: address.wanted(streams=spec.streams),
            Kind.CAPACITY: capacity.wanted(spec.reserved_concurrency, stopped=stopped),
        }

    def observe(self, names: Sequence[str]) -> Observed:
        found = self._of_each(names)
        artefacts = frozenset(code_of(key) for key in self.objects.list(PACKAGES))
        return Observed({name: each for name, each in found.items() if each.resources}, artefacts)

    def ensure(self, function: str, kind: Kind, properties: Properties) -> None:
        match kind:
            case Kind.IDENTITY:
                self._identities.ensure(function, properties)
            case Kind.LOGS:
                self._log_groups.ensure(function, properties)
            case Kind.ADDRESS:
                self._addresses.ensure(function, properties, self._shell(function))
            case Kind.CAPACITY:
                self._capacities.ensure(function, properties)

    def upload(self, code: str, package: Path) -> None:
        try:
            self.objects.put(package_key(code), package.read_bytes(), only_if=Condition.ABSENT)
        except Conflict:
            return  # it is named by its content

    def publish(self, state: FunctionState) -> None:
        streams = self._catalogue[state.name].streams
        settings = settings_of(state, role_arn=self._names.role_arn(state.name), streams=streams)
        key = package_key(state.code)
        digest = self.objects.sha256_of(key)
        if digest is None:
            raise WorldMoved(f"The package {key} of {state.name} is not in {self.objects.name}: plan again.")
        code = {"S3Bucket": self.objects.name, "S3Key": key}
        blueprint = Blueprint(settings["Description"], settings, state.architecture, digest, code)
        self._versions.publish(state.name, blueprint)

    def candidate(self, function: str, fingerprint: str) -> str:
        self._traffic.nominate(function, fingerprint)
        url = self._addresses.candidate_url(function)
        if url is None:
            raise WorldMoved(
                f"The candidate address of {self._names.function(function)} is gone: plan again."
            )
        return url

    def shift(self, function: str, weights: Mapping[str, int]) -> None:
        self._traffic.shift(function, weights)

    def prune(self, function: str, revision_id: str) -> None:
        if (found := self._functions.find(function)) is None:
            return
        self._functions.refuse_foreign(function, found)
        self._traffic.retreat(function, revision_id)
        self._versions.prune(function, revision_id)

    def forget_artefact(self, code: str) -> None:
        self.objects.delete(package_key(code))

    def remove(self, function: str) -> None:
        self._addresses.remove(function)
        self._log_groups.remove(function)
        self._identities.remove(function)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=self._transport, timeout=PROBE_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Do nothing: the session's clients belong to whoever made it."""

    @property
    def _region(self) -> str:
        return self._names.place.region

    @cached_property
    def _functions(self) -> Functions:
        client = self._session.client("lambda", self._region, config=CLIENT_CONFIG)
        return Functions(client, self._calls, self._names)

    @cached_property
    def _versions(self) -> Versions:
        return Versions(self._functions)

    @cached_property
    def _traffic(self) -> Traffic:
        return Traffic(self._functions, self._versions)

    @cached_property
    def _addresses(self) -> address.Addresses:
        return address.Addresses(self._functions, self._traffic, Permissions(self._functions))

    @cached_property
    def _capacities(self) -> capacity.Capacities:
        return capacity.Capacities(self._functions)

    @cached_property
    def _identities(self) -> identity.Identities:
        client = self._session.client("iam", self._region, config=CLIENT_CONFIG)
        return identity.Identities(client, self._calls, self._names)

    @cached_property
    def _log_groups(self) -> logs.LogGroups:
        client = self._session.client("logs", self._region, config=CLIENT_CONFIG)
        return logs.LogGroups(client, self._calls, self._names)

    def _shell(self, name: str) -> Blueprint:
        target = self._environment.target
        return placeholder(
            role_arn=self._names.role_arn(name),
            layers=(self._names.place.adapter_layer,),
            python=target.python,
            architecture=target.architecture,
            streams=self._catalogue[name].streams,
        )

    def _of_each(self, names: Sequence[str]) -> dict[str, ObservedFunction]:
        # Clients are made here first: boto3's sessions, unlike its clients, are not for several threads.
        _ = (self._addresses, self._identities, self._log_groups)
        return of_each(names, self._observed, self._at_once)

    def _observed(self, name: str) -> ObservedFunction:
        beside = {Kind.IDENTITY: self._identities.observe(name), Kind.LOGS: self._log_groups.observe(name)}
        resources = {kind: each for kind, each in beside.items() if each is not None}
        found = self._functions.find(name)
        if found is None:
            return ObservedFunction(resources)
        if not self._functions.is_ours(name, found):
            return ObservedFunction({**resources, Kind.ADDRESS: ObservedResource({}, ours=False)})
        versions, aliases = self._versions.all_of(name), self._traffic.observe(name)
        resources[Kind.ADDRESS], url = self._addresses.observe(name, aliases)
        resources[Kind.CAPACITY] = self._capacities.observe(found)
        revisions = tuple(revision for each in versions if (revision := revision_of(each)))
        return ObservedFunction(resources, url, revisions, live_of(aliases.get(LIVE), versions))
