"""Environments: `infra/environments/<name>.toml`, read into frozen records.

An environment says where the catalogue's functions are deployed and with which values: the provider and the
place there, variables by name, what differs for single functions. Values of secrets are never in it, only
names where they differ from the convention (`deployment.names`). Whether all of it makes sense is
`deployment.validation`'s question; here it must only be well-formed, so that every problem is found at once.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from deployment.catalogue import Count, FunctionSpec
from deployment.errors import Refused
from deployment.problems import ROOT, FilesRefused, Problem, file_name, near, problems_of, read_toml
from deployment.states import url_reference
from shared.routing import Lane
from shared.settings import Env

ENVIRONMENTS_FOLDER = ROOT / "infra" / "environments"
OWN_ADDRESS = "ROUTE_URL"
"""The variable in which a lane finds its own address."""
TELEMETRY = "telemetry"
"""The compiled list of what sends traces and metrics."""
TELEMETRY_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_SETTLE = {"TELEMETRY_SETTLE_MS": "500"}
"""Where a process stands still between two requests, nothing is sent then."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_REST = frozenset({"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"})


class EnvironmentRefused(FilesRefused):
    """An environment's file is wrong."""


class Platform(StrEnum):
    """Where functions run: a provider of `deployment.providers`."""

    LOCAL = "local"
    AWS = "aws"
    GCP = "gcp"


class RedisBy(StrEnum):
    """How lanes and `actions` reach Redis; `events` always does by TCP."""

    TCP = "tcp"
    REST = "rest"


def _as_text(value: object) -> object:
    """Let a variable be written as a number; what a process gets is text in any case."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be text or a number")  # noqa: TRY004  # pydantic turns only this one into a problem
    return str(value)


Value = Annotated[str, BeforeValidator(_as_text)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AwsPlace(_Table):
    """An account and a region."""

    account: StrictStr
    """Twelve digits; credentials that lead to another account are refused."""
    region: StrictStr
    bucket: StrictStr
    """Where packages, releases and the lock are kept; made by the first apply."""
    adapter_layer: StrictStr
    """The ARN of Lambda Web Adapter's layer, with its version."""
    account_concurrency: Count = 1000
    """The account's limit of concurrent executions in that region."""


class GcpPlace(_Table):
    """A project and a region."""

    project: StrictStr
    project_number: StrictStr
    """Digits; Cloud Run's addresses are made of it."""
    region: StrictStr
    bucket: StrictStr
    """Where packages, releases and the lock are kept; made by the first apply."""


class LocalPlace(_Table):
    """This machine: processes on 127.0.0.1, everything kept below `build/environments/<name>/`."""


class Target(_Table):
    """For what bundles are packaged."""

    python: Annotated[StrictStr, Field(pattern=r"^3\.\d+$")]
    """The minor version, such as `3.13`."""
    architecture: Literal["x86_64", "arm64"]

    @classmethod
    def here(cls) -> Self:
        """Return this machine's and this interpreter's."""
        arm = platform.machine().lower() in {"arm64", "aarch64"}
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(python=version, architecture="arm64" if arm else "x86_64")


class Overrides(_Table):
    """What is different here for one function."""

    memory_mb: Count | None = None
    timeout_seconds: Count | None = None
    concurrency: Count | None = None
    min_instances: Annotated[StrictInt, Field(ge=0)] | None = None
    max_instances: Count | None = None
    reserved_concurrency: Count | None = None
    log_retention_days: Count | None = None


class Services(_Table):
    """Stand-ins of the outside world, started by who runs the environment; only for development."""

    module: StrictStr
    """The dotted name of the module that starts them."""
    variables: tuple[StrictStr, ...] = ()
    """The variables whose values it knows once they run."""


class Releases(_Table):
    """What is kept to roll back to."""

    keep: Count = 5


class CanarySettings(_Table):
    """How a release goes live when the command does not say."""

    percents: tuple[Annotated[StrictInt, Field(ge=1, le=100)], ...] = (100,)
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 0

    @field_validator("percents")
    @classmethod
    def _rises_to_all(cls, percents: tuple[int, ...]) -> tuple[int, ...]:
        if not percents or percents[-1] != 100 or any(a >= b for a, b in pairwise(percents)):
            raise ValueError("must rise and end with 100, such as [10, 50, 100]")
        return percents


class _Document(_Table):
    """What stands in the file."""

    provider: Platform
    sluice_env: Env
    protected: StrictBool = False
    """Whether `destroy` is refused and a change has to be confirmed by the environment's name."""
    emulated: StrictBool = False
    """Whether it exists only with `--emulate`: no account, no cost, nothing kept."""
    telemetry: StrictBool = False
    """Whether functions get what it takes to send traces and metrics."""
    redis: RedisBy = RedisBy.TCP
    aws: AwsPlace | None = None
    gcp: GcpPlace | None = None
    target: Target = Field(default_factory=Target.here)
    urls: dict[str, StrictStr] = {}
    """Addresses that are known beforehand, by function."""
    variables: dict[str, Value] = {}
    functions: dict[str, Overrides] = {}
    secrets: dict[str, StrictStr] = {}
    """Names of secrets, by variable, where they are not the convention's."""
    services: Services | None = None
    releases: Releases = Releases()
    canary: CanarySettings = CanarySettings()


class Environment(_Document):
    """Where the functions are deployed, and with which values."""

    name: str
    file: str
    """How messages name the file."""
    names_supplied: frozenset[str] = frozenset()
    """Those of `variables` whose values the file does not know: see `supplied`."""

    @property
    def place(self) -> AwsPlace | GcpPlace | LocalPlace:
        """Return the account, the project or the machine, whichever the provider has."""
        return self.aws or self.gcp or LocalPlace()

    @property
    def written(self) -> dict[str, str]:
        """Return the variables that stand in the file."""
        return {name: value for name, value in self.variables.items() if name not in self.names_supplied}

    def specs(self, catalogue: Mapping[str, FunctionSpec]) -> dict[str, FunctionSpec]:
        """Return the catalogue with what is different here."""
        return {name: self._spec(spec) for name, spec in catalogue.items()}

    def variables_of(self, spec: FunctionSpec) -> dict[str, str]:
        """Return what a function finds in its environment apart from secrets; only what it declares.

        Addresses that are not known beforehand are references, `${url:paid_stream}`. What services know
        (`Services.variables`) is in it once it was `supplied`.
        """
        settle = _SETTLE if self.telemetry and self.provider is not Platform.LOCAL else {}
        known = {**settle, **self.variables, "SLUICE_ENV": str(self.sluice_env), **self._addresses_for(spec)}
        return {name: known[name] for name in spec.variables if name in known}

    def secrets_of(self, spec: FunctionSpec) -> tuple[str, ...]:
        """Return the secrets that a function gets here, as variables; the optional ones too.

        Of two ways to reach Redis or to check users' tokens only the one that is configured is in it.
        """
        return tuple(variable for variable in spec.secrets if self._holds(variable, spec))

    def supplied(self, variables: Mapping[str, str]) -> Self:
        """Return the environment with values that are known only at run time, such as services' addresses."""
        names = self.names_supplied | variables.keys()
        return self.model_copy(update={"variables": {**self.variables, **variables}, "names_supplied": names})

    def address_of(self, function: str) -> str:
        """Return a function's address where it is known beforehand, else the reference to it."""
        return self.urls.get(function) or url_reference(function)

    def _spec(self, spec: FunctionSpec) -> FunctionSpec:
        overrides = self.functions.get(spec.name, Overrides())
        extras = (TELEMETRY,) if self.telemetry else ()
        return replace(spec, extras=extras, **overrides.model_dump(exclude_none=True))

    def _addresses_for(self, spec: FunctionSpec) -> dict[str, str]:
        of_others = {name: function for name in spec.variables if (function := addressed_by(name))}
        addresses = {name: self.address_of(function) for name, function in of_others.items()}
        return {OWN_ADDRESS: self.address_of(spec.name), **addresses}

    def _holds(self, variable: str, spec: FunctionSpec) -> bool:
        if variable == TELEMETRY_HEADERS:
            return self.telemetry
        by_rest = self.redis is RedisBy.REST and spec.environment_names >= _REST
        match variable:
            case "REDIS_URL":
                return not by_rest
            case "UPSTASH_REDIS_REST_URL" | "UPSTASH_REDIS_REST_TOKEN":
                return by_rest
            case "AUTH_JWT_SECRET" | "AUTH_JWT_SECRET_SECOND":
                return not self.variables.get("AUTH_JWKS_URL", "").strip()
            case _:
                return True


def addressed_by(variable: str) -> str | None:
    """Return the function whose address a variable holds, such as `PAID_STREAM_URL`; None for any other."""
    functions = {"ACTIONS_URL": "actions", "EVENTS_URL": "events"}
    return functions.get(variable) or {lane.url_variable: str(lane) for lane in Lane}.get(variable)


def load_environment(name: str, folder: Path = ENVIRONMENTS_FOLDER) -> Environment:
    """Read an environment.

    Args:
        name: its name, or the path of its file (with a slash in it, or ending in `.toml`).
        folder: where the files are that names stand for.

    Raises:
        Refused: there is no such environment; the text names those there are.
        EnvironmentRefused: its file is not well-formed; the text names every problem.
    """
    file = Path(name) if "/" in name or name.endswith(".toml") else _find(name, folder)
    try:
        document = _Document.model_validate(read_toml(file))
    except ValidationError as error:
        raise EnvironmentRefused(problems_of(error, file, _Document)) from error
    except FilesRefused as refused:
        raise EnvironmentRefused(refused.problems) from refused
    given = {name: getattr(document, name) for name in document.model_fields_set}
    environment = Environment(name=file.stem, file=file_name(file), **given)
    if problems := _misplaced(environment):
        raise EnvironmentRefused(problems)
    return environment


def _find(name: str, folder: Path) -> Path:
    names = sorted(file.stem for file in folder.glob("*.toml"))
    if name not in names:
        advice = near(name, names)
        others = f" (there are {', '.join(names)})" if advice.startswith("did") else ""
        raise Refused(f"There is no environment {name}: {advice}{others}")
    return folder / f"{name}.toml"


def _misplaced(environment: Environment) -> list[Problem]:
    """Return what the tables of providers have wrong, and a name that nothing can be named by."""

    def problem(table: str, text: str) -> Problem:
        return Problem(environment.file, table, "", text)

    provider, problems = environment.provider, []
    places: Mapping[Platform, Any] = {Platform.AWS: environment.aws, Platform.GCP: environment.gcp}
    for each, place in places.items():
        if place is None and each is provider:
            problems.append(problem(each, f'is missing: provider is "{provider}"'))
        if place is not None and each is not provider:
            problems.append(problem(each, f'does not belong here: provider is "{provider}"'))
    ours = provider is Platform.LOCAL or environment.emulated
    if not ours and "target" not in environment.model_fields_set:
        problems.append(problem("target", "is missing: say for which python and architecture to package"))
    if not _NAME.fullmatch(environment.name):
        problems.append(problem("", "is named in another way than a-z, 0-9 and dashes, a letter first"))
    return problems
