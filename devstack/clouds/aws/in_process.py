"""An AWS in this process: moto's mock mode and strictness. For tests; nothing listens, nothing is kept.

with in_process() as aws:
    aws.session.client("lambda")        # strict
    aws.plain("lambda")                 # what moto alone does
    aws.strict.recorder.writes()
    aws.strict.inject(CrashAt(7))
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from moto import mock_aws

from devstack.clouds.aws.sessions import MOTO_ACCOUNT, REGION, in_process_session
from devstack.clouds.aws.strict.books import MemoryState, State
from devstack.clouds.aws.strict.calls import Rule, Timing
from devstack.clouds.aws.strict.rules import RULES
from devstack.clouds.aws.strict.session import Strictness, make_strict


@dataclass(frozen=True, slots=True)
class InProcess:
    """The AWS of one test."""

    session: boto3.Session
    """Every client it makes is strict."""
    strict: Strictness
    account: str = MOTO_ACCOUNT
    region: str = REGION

    def plain(self, service: str) -> Any:
        """Return a client that speaks with moto alone."""
        return in_process_session(self.region).client(service)  # type: ignore[call-overload]


@contextlib.contextmanager
def in_process(
    *, rules: Iterable[Rule] = RULES, timing: Timing | None = None, state: State | None = None
) -> Iterator[InProcess]:
    """Give a new AWS; with its end all that is in it is gone.

    Args:
        rules: which of them hold.
        timing: how many polls and calls things take.
        state: what the rules remember; its own unless a test wants to look at it.
    """
    with mock_aws(config={"lambda": {"use_docker": False}}):
        session = in_process_session(REGION)
        strict = make_strict(
            session, state or MemoryState(), companion=_companion, rules=rules, timing=timing
        )
        yield InProcess(session, strict)


def _companion(service: str, region: str) -> Any:
    return in_process_session(region).client(service)  # type: ignore[call-overload]
