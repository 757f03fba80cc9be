"""What is judged: catalogue and environment together, and where each value of theirs stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from deployment.catalogue import CATALOGUE_FILE, FunctionSpec
from deployment.environments import Environment
from deployment.problems import Problem, file_name
from shared.settings import Env


@dataclass(frozen=True)
class Subject:
    """A catalogue that is to be deployed to an environment."""

    catalogue: Mapping[str, FunctionSpec]
    environment: Environment

    @cached_property
    def specs(self) -> Mapping[str, FunctionSpec]:
        """Return the functions with what is different in the environment."""
        return self.environment.specs(self.catalogue)

    @property
    def is_real(self) -> bool:
        """Tell whether users or their data are about: anything but development."""
        return self.environment.sluice_env is not Env.DEV

    @cached_property
    def texts(self) -> list[tuple[str, str, str]]:
        """Return every text that somebody wrote into the environment's file: table, key, text."""
        environment = self.environment
        tables = {
            "urls": environment.urls,
            "variables": environment.written,
            "secrets": environment.secrets,
        }
        texts = [(table, key, value) for table, keys in tables.items() for key, value in keys.items()]
        place = environment.place.model_dump().items()
        return [
            (str(environment.provider), key, value) for key, value in place if isinstance(value, str)
        ] + texts

    @cached_property
    def secrets(self) -> Mapping[str, list[str]]:
        """Return who is handed each secret in this environment, by variable."""
        holders: dict[str, list[str]] = {}
        for name, spec in self.specs.items():
            for variable in self.environment.secrets_of(spec):
                holders.setdefault(variable, []).append(name)
        return holders

    def lanes(self) -> Iterator[FunctionSpec]:
        return (spec for spec in self.specs.values() if spec.lane)

    def here(self, table: str, key: str, text: str) -> Problem:
        """Return a problem of the environment's file."""
        return Problem(self.environment.file, table, key, text)

    def of(self, function: str, key: str, text: str) -> Problem:
        """Return a problem of a function, in the file in which the value stands."""
        overrides = self.environment.functions.get(function)
        overridden = overrides is not None and key in overrides.model_fields_set
        file = self.environment.file if overridden else file_name(CATALOGUE_FILE)
        return Problem(file, f"functions.{function}", key, text)
