"""The catalogue of functions: `infra/functions.toml`, read into frozen records.

What deploys, builds and runs the functions (the dev stack too) reads the one catalogue, so that a function
gets the same rooms of `shared/`, the same variables and the same secrets everywhere. Whether what stands
there makes sense for an environment is `deployment.validation`'s question; here it must only be well-formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from deployment.problems import ROOT, FilesRefused, Problem, file_name, near, problems_of, read_toml
from shared.routing import Kind, Lane, Tier

__all__ = ["CATALOGUE_FILE", "ROOT", "CatalogueError", "FunctionSpec", "load_catalogue"]

CATALOGUE_FILE = ROOT / "infra" / "functions.toml"


class CatalogueError(FilesRefused):
    """The catalogue of functions is wrong."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function: what its bundle holds, what it runs with, the names of its variables and secrets."""

    name: str
    rooms: tuple[str, ...]
    requirements: str
    variables: tuple[str, ...]
    secrets: tuple[str, ...]
    """Every secret that it may find in its environment, the optional ones too."""
    memory_mb: int
    timeout_seconds: int
    """The platform's own limit of one request."""
    concurrency: int
    """Requests that one instance serves at once where the platform lets it (the framework's THREADS)."""
    min_instances: int
    max_instances: int = 20
    """Instances there may be at once, on platforms whose instances serve several requests."""
    reserved_concurrency: int = 10
    """Requests there may be at once, on platforms whose instances serve one: no other function can take
    them, and the function can cost no more."""
    log_retention_days: int = 30
    streams: bool = False
    """Whether an answer is passed on while it is made; buffered otherwise."""
    optional_secrets: tuple[str, ...] = ()
    """Those of `secrets` that it gets only while the environment's store has them."""
    extras: tuple[str, ...] = ()
    """Compiled lists beside `requirements`: what an environment wants beyond what every one needs."""

    @property
    def environment_names(self) -> frozenset[str]:
        """Return every name the function may find in its environment."""
        return frozenset(self.variables) | frozenset(self.secrets)

    @property
    def lane(self) -> Lane | None:
        """Return the lane that the function serves; None for `actions` and `events`."""
        return Lane(self.name) if self.name in set(Lane) else None

    @property
    def tier(self) -> Tier | None:
        return self.lane.tier if self.lane else None

    @property
    def kind(self) -> Kind | None:
        return self.lane.kind if self.lane else None


Count = Annotated[StrictInt, Field(ge=1)]
"""A whole number of at least 1."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Group(_Table):
    variables: tuple[StrictStr, ...] = ()
    secrets: tuple[StrictStr, ...] = ()
    optional_secrets: tuple[StrictStr, ...] = ()


class _Function(_Table):
    rooms: tuple[StrictStr, ...]
    requirements: StrictStr
    uses: tuple[StrictStr, ...]
    memory_mb: Count
    timeout_seconds: Count
    concurrency: Count
    min_instances: Annotated[StrictInt, Field(ge=0)]
    max_instances: Count
    reserved_concurrency: Count
    log_retention_days: Count
    streams: StrictBool = False


class _Catalogue(_Table):
    groups: dict[str, _Group]
    functions: dict[str, _Function]


def load_catalogue(file: Path = CATALOGUE_FILE) -> dict[str, FunctionSpec]:
    """Read the catalogue.

    Raises:
        CatalogueError: it cannot be read; a function lacks a field, has one too many or of the wrong type, or
            uses a group that is not declared. Every problem is named.
    """
    try:
        catalogue = _Catalogue.model_validate(read_toml(file))
    except ValidationError as error:
        raise CatalogueError(problems_of(error, file, _Catalogue)) from error
    except FilesRefused as refused:
        raise CatalogueError(refused.problems) from refused
    if problems := _undeclared(catalogue, file):
        raise CatalogueError(problems)
    return {name: _spec(name, function, catalogue) for name, function in catalogue.functions.items()}


def _undeclared(catalogue: _Catalogue, file: Path) -> list[Problem]:
    return [
        Problem(
            file_name(file),
            f"functions.{name}",
            "uses",
            f"{group} is not declared under [groups]; {near(group, catalogue.groups)}",
        )
        for name, function in catalogue.functions.items()
        for group in function.uses
        if group not in catalogue.groups
    ]


def _spec(name: str, function: _Function, catalogue: _Catalogue) -> FunctionSpec:
    used = [catalogue.groups[group] for group in function.uses]
    optional = tuple(secret for group in used for secret in group.optional_secrets)
    return FunctionSpec(
        name=name,
        variables=tuple(variable for group in used for variable in group.variables),
        secrets=tuple(secret for group in used for secret in group.secrets) + optional,
        optional_secrets=optional,
        **function.model_dump(exclude={"uses"}),
    )
