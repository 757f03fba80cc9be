"""Sections and trials: what is run, on which stack, and how thoroughly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.reliability.tally import Tally
from devstack.stack import Stack


@dataclass(frozen=True, slots=True)
class Effort:
    """How thorough a trial is: the short version is part of `make test`."""

    rounds: int = 1
    thorough: bool = False


SHORT = Effort()
THOROUGH = Effort(rounds=1, thorough=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of the table. `run` injects faults into a stack at rest and leaves one at rest."""

    title: str
    """What is done to the system, such as "SIGKILL before and after each batch's write"."""
    run: Callable[[Stack, Tally, Effort], None]


@dataclass(frozen=True, slots=True)
class Section:
    """Trials that share one stack; `stack` are the arguments it is made with."""

    name: str
    """One word, for the command line."""
    promise: str
    """What its trials prove, as a sentence."""
    stack: Mapping[str, Any] = field(repr=False)
    trials: tuple[Trial, ...]
