"""What is kept of an environment on this machine: `state.json`, written by commands, read by the supervisor.

It is what a cloud's own records are elsewhere: addresses that never change, resources, revisions and which of
them take calls. Every change holds a lock on the folder and replaces the file as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from deployment.bundles.exclusion import exclusive
from deployment.errors import ProviderError
from deployment.providers.local.private_files import make_private, write_private
from deployment.resources import Kind, Properties
from deployment.states import FunctionState

STATE_FILE = "state.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One immutable revision."""

    number: int
    state: FunctionState

    @property
    def fingerprint(self) -> str:
        return self.state.fingerprint or ""


@dataclass(slots=True)
class FunctionRecord:
    """All there is of one function."""

    port: int | None = None
    """Its address's, chosen once; None before it has one."""
    resources: dict[Kind, Properties] = field(default_factory=dict)
    revisions: list[RevisionRecord] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    """Per cent of the calls, by fingerprint."""
    numbers: int = 0
    """How many revisions there have been."""

    @property
    def url(self) -> str | None:
        return f"http://127.0.0.1:{self.port}" if self.port else None

    @property
    def stopped(self) -> bool:
        return bool(self.resources.get(Kind.CAPACITY, {}).get("stopped"))

    def revision(self, fingerprint: str) -> RevisionRecord | None:
        return next((each for each in self.revisions if each.fingerprint == fingerprint), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "port": self.port,
            "resources": {str(kind): dict(properties) for kind, properties in self.resources.items()},
            "revisions": [{"number": each.number, "state": each.state.to_json()} for each in self.revisions],
            "live": self.live,
            "numbers": self.numbers,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        revisions = [
            RevisionRecord(each["number"], FunctionState.from_json(each["state"]))
            for each in document["revisions"]
        ]
        resources = {Kind(kind): properties for kind, properties in document["resources"].items()}
        return cls(document["port"], resources, revisions, document["live"], document["numbers"])


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one environment, in its folder."""

    folder: Path

    def read(self) -> dict[str, FunctionRecord]:
        """Return what there is, by function; nothing before the first change.

        Raises:
            ProviderError: the file is of another version of this program, or broken.
        """
        try:
            return _parse((self.folder / STATE_FILE).read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderError(
                f"{self.folder / STATE_FILE} was not written by this version ({type(error).__name__}). "
                f"End what runs by it, and remove the folder {self.folder}."
            ) from error

    @contextmanager
    def changing(self, function: str) -> Iterator[FunctionRecord]:
        """Give out a function's record, and write what was changed in it when the block ends well."""
        make_private(self.folder)
        with exclusive(self.folder):
            functions = self.read()
            before = functions.get(function, FunctionRecord()).to_json()
            record = functions.setdefault(function, FunctionRecord())
            yield record
            if record.to_json() != before:
                self._write(functions)

    def forget(self, function: str) -> None:
        """Remove all of a function; one that is not there is no error."""
        if function not in self.read():
            return
        with exclusive(self.folder):
            functions = self.read()
            functions.pop(function, None)
            self._write(functions)

    def destroy(self) -> None:
        """Remove the records of an environment that has no function any more."""
        (self.folder / STATE_FILE).unlink(missing_ok=True)
        for half_written in self.folder.glob(".?*"):  # by somebody who was killed
            if half_written.is_file() and half_written.name != ".lock":
                half_written.unlink(missing_ok=True)

    def _write(self, functions: Mapping[str, FunctionRecord]) -> None:
        document = {
            "format": _FORMAT,
            "functions": {name: record.to_json() for name, record in functions.items()},
        }
        write_private(self.folder / STATE_FILE, json.dumps(document, indent=1).encode())


def _parse(content: bytes) -> dict[str, FunctionRecord]:
    document = json.loads(content)
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']}")
    return {name: FunctionRecord.from_json(each) for name, each in document["functions"].items()}
