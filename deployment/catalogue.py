"""The catalogue of functions: `infra/functions.toml`, read into frozen records.

What deploys, builds and runs the functions (the dev stack too) reads the one catalogue, so that a function
gets the same rooms of `shared/`, the same variables and the same secrets everywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CATALOGUE_FILE = ROOT / "infra" / "functions.toml"


class CatalogueError(Exception):
    """The catalogue of functions is wrong."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function: what its bundle holds, what it runs with, the names of its variables and secrets."""

    name: str
    rooms: tuple[str, ...]
    requirements: str
    variables: tuple[str, ...]
    secrets: tuple[str, ...]
    memory_mb: int
    timeout_seconds: int
    concurrency: int
    min_instances: int

    @property
    def environment_names(self) -> frozenset[str]:
        """Return every name the function may find in its environment."""
        return frozenset(self.variables) | frozenset(self.secrets)


def load_catalogue(file: Path = CATALOGUE_FILE) -> dict[str, FunctionSpec]:
    """Read the catalogue.

    Raises:
        CatalogueError: a function lacks a field, has one too many, or uses a group that is not declared.
    """
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    groups = document["groups"]
    return {name: _function(name, fields, groups) for name, fields in document["functions"].items()}


def _function(name: str, fields: Mapping[str, Any], groups: Mapping[str, Any]) -> FunctionSpec:
    rest = {key: value for key, value in fields.items() if key not in {"uses", "rooms"}}
    unknown = [group for group in fields.get("uses", ()) if group not in groups]
    if unknown:
        raise CatalogueError(f"{name} uses {', '.join(unknown)}, which infra/functions.toml does not declare")
    used = [groups[group] for group in fields.get("uses", ())]
    try:
        return FunctionSpec(
            name=name,
            rooms=tuple(fields["rooms"]),
            variables=tuple(variable for group in used for variable in group["variables"]),
            secrets=tuple(secret for group in used for secret in group["secrets"]),
            **rest,
        )
    except (KeyError, TypeError) as wrong:
        raise CatalogueError(f"{name}: {wrong}") from wrong
