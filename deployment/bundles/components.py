"""What is in a bundle by others: each installed distribution, its licence, the archives it may come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Self

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_LONGEST_LICENCE = 80  # some put the whole text where its name belongs


@dataclass(frozen=True, slots=True)
class Component:
    """One distribution, as it was installed."""

    name: str
    version: str
    licence: str | None
    """An SPDX expression where `spdx`, else the authors' own words."""
    spdx: bool
    tag: str
    """The wheel's, such as `cp313-cp313-manylinux_2_28_x86_64`."""
    archives: tuple[str, ...]
    """The sha256 of each archive that the lock accepts for it, hexadecimal."""

    @property
    def purl(self) -> str:
        """Return its package URL."""
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "archives": list(self.archives)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "archives": tuple(document["archives"])})


def read_components(site: Path, requirements: Path) -> list[Component]:
    """Return what is installed in a folder, by name.

    Args:
        site: where it is installed.
        requirements: the lock it was installed from: pins with hashes.
    """
    locked = locked_archives(requirements.read_text(encoding="utf-8"))
    found = (_component(folder, locked) for folder in site.glob("*.dist-info"))
    return sorted(found, key=lambda component: component.name)


def locked_archives(requirements: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the hashes that a lock accepts, by normalised name and version; markers choose."""
    starts = [*_PINNED.finditer(requirements)]
    ends = [*(start.start() for start in starts[1:]), len(requirements)]
    return {
        (_normalised(start[1]), start[2]): tuple(sorted(_HASH.findall(requirements, start.start(), end)))
        for start, end in zip(starts, ends, strict=True)
    }


def _component(folder: Path, locked: Mapping[tuple[str, str], tuple[str, ...]]) -> Component:
    about = _headers(folder / "METADATA")
    name = _normalised(about["Name"])
    licence, spdx = _licence(about)
    tags = _headers(folder / "WHEEL").get_all("Tag", [])
    version = str(about["Version"])
    return Component(name, version, licence, spdx, ".".join(tags), locked[name, version])


def _licence(about: Message) -> tuple[str | None, bool]:
    if expression := about.get("License-Expression"):
        return str(expression), True
    classified = [
        str(line).rsplit(" :: ", 1)[-1] for line in about.get_all("Classifier", []) if "License :: " in line
    ]
    first, *more = str(about.get("License", "")).strip().splitlines() or [""]
    short = first if len(first) <= _LONGEST_LICENCE else ""
    if more:  # the whole text, headed by its name at best
        return (", ".join(classified) or short or None), False
    return (short or ", ".join(classified) or None), False


def _headers(file: Path) -> Message:
    return HeaderParser().parsestr(file.read_text(encoding="utf-8"))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
