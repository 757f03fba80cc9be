"""What there is of a function on a provider, desired or observed, as flat JSON properties. Pure values.

    identity   the role or service account that it runs as, with all that it may do
    logs       where its log goes and how long it is kept
    address    its URL, which never changes, and who may call it
    capacity   how much of it may run at once, and whether it has been stopped
    live       which revisions its address leads to, and how many per cent each

and beside these its revisions, which are immutable. A provider says what the properties are (`resources`),
observes the same, and the planner compares them one by one; it knows no provider's names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Properties = Mapping[str, Any]


class Kind(StrEnum):
    """The mutable resources of a function, in the order in which they are made."""

    IDENTITY = "identity"
    LOGS = "logs"
    ADDRESS = "address"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class ObservedResource:
    """One resource as it is now."""

    properties: Properties
    ours: bool = True
    """Whether it carries our tags; what does not is left alone."""
    token: str = ""
    """Changes whenever anybody changes the resource (a RevisionId, an etag); empty where there is none."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable revision as it is now."""

    fingerprint: str
    """By which state it was made; empty when it was not made by us."""
    id: str
    """The provider's own name for it."""
    number: int
    """Grows with each revision of the function."""


@dataclass(frozen=True, slots=True)
class ObservedFunction:
    """All there is of one function."""

    resources: Mapping[Kind, ObservedResource] = field(default_factory=dict)
    url: str | None = None
    """Its address, without a trailing slash; None before it has one."""
    revisions: tuple[Revision, ...] = ()
    live: Mapping[str, int] = field(default_factory=dict)
    """Per cent of the calls by the fingerprint of the revision; `id:<id>` for one that is not ours."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An environment as it is now."""

    functions: Mapping[str, ObservedFunction]
    artefacts: frozenset[str] = frozenset()
    """The content digests of the packages in the environment's store."""
    schedule: ObservedResource | None = None
    """The sweep's schedule at QStash."""

    @property
    def urls(self) -> dict[str, str]:
        """Return every address that is known."""
        return {name: each.url for name, each in self.functions.items() if each.url is not None}

    @property
    def digest(self) -> str:
        """Return a digest over all of it, tokens included: equal ones mean that nothing has moved."""
        document = asdict(self) | {"artefacts": sorted(self.artefacts)}
        return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
