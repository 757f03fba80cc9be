"""What a revision of a function is made of: code, variables, pinned secrets, size. Pure values.

A state is what a release records and what a rollback brings back. Its *fingerprint* names the immutable
revision that is made of it, on every provider: equal fingerprints are the same code with the same
configuration, so that a revision which is already there is used again instead of being published twice.

A variable may name another function's address as `${url:paid_stream}`: addresses are known only once they
have been made. They never change afterwards, and the fingerprint is taken over the resolved values.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

_REFERENCE = re.compile(r"\$\{url:([a-z_]+)\}")
CODE_CHARACTERS = 12
"""How much of a digest a fingerprint carries."""


@dataclass(frozen=True, slots=True, order=True)
class SecretPin:
    """One version of one secret, by name; never its value."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class FunctionState:
    """All that makes one revision of one function."""

    name: str
    code: str
    """The content digest of the packaged bundle, hexadecimal."""
    variables: Mapping[str, str]
    """By name; values may hold `${url:<function>}`."""
    secrets: Mapping[str, SecretPin]
    """By the variable under which the function finds the value."""
    memory_mb: int
    timeout_seconds: int
    concurrency: int
    """Requests that one instance serves at once (the framework's THREADS)."""
    python: str
    """The minor version it runs on, such as `3.13`."""
    architecture: str
    """`x86_64` or `arm64`."""
    layers: tuple[str, ...] = ()
    """What the platform puts beside the bundle: Lambda Web Adapter's layer."""

    @property
    def references(self) -> frozenset[str]:
        """Return the functions whose addresses the variables name."""
        return references_in(self.variables.values())

    def resolved(self, urls: Mapping[str, str]) -> Self:
        """Return the state with every reference that `urls` knows replaced by the address."""
        return replace(self, variables={name: resolve(v, urls) for name, v in self.variables.items()})

    @property
    def fingerprint(self) -> str | None:
        """Return the name of the revision made of this state; None while an address is not known yet."""
        if self.references:
            return None
        config = {key: value for key, value in self.to_json().items() if key != "code"}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return f"{self.code[:CODE_CHARACTERS]}-{digest[:CODE_CHARACTERS]}"

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON-able values, the same for equal states."""
        return {
            "name": self.name,
            "code": self.code,
            "variables": dict(sorted(self.variables.items())),
            "secrets": {
                variable: {"name": pin.name, "version": pin.version}
                for variable, pin in sorted(self.secrets.items())
            },
            "memory_mb": self.memory_mb,
            "timeout_seconds": self.timeout_seconds,
            "concurrency": self.concurrency,
            "python": self.python,
            "architecture": self.architecture,
            "layers": list(self.layers),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the state that `to_json` made."""
        secrets = {variable: SecretPin(**pin) for variable, pin in document["secrets"].items()}
        return cls(**{**document, "secrets": secrets, "layers": tuple(document["layers"])})


def references_in(values: Iterable[str]) -> frozenset[str]:
    """Return the functions whose addresses some texts name."""
    return frozenset(name for value in values for name in _REFERENCE.findall(value))


def resolve(value: str, urls: Mapping[str, str]) -> str:
    """Return a text with every reference that `urls` knows replaced by the address."""
    return _REFERENCE.sub(lambda found: urls.get(found[1], found[0]), value)


def url_reference(function: str) -> str:
    """Return what stands in a variable for the address of `function` until it is known."""
    return f"${{url:{function}}}"
