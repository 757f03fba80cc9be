"""Fixtures of the end-to-end tests: a user of each test's own, and the stack of those that break nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.frontend import assert_at_rest
from devstack.llm.replies import Pace
from devstack.qstash.faults import Faults
from devstack.stack import Stack
from shared.routing import Lane

FIRST_TOKEN_MS, TOKENS_PER_SECOND = 300, 1500
LIMITS = {"MODEL_SLOTS": '{"deepseek-reasoner:paid": 1}', "INITIAL_QUOTA": "12", "LEASE_SECONDS": "4"}


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test's own."""
    return f"user-{request.node.name}"


@pytest.fixture(scope="session")
def shared_stack(new_build_folder: Callable[[], Path]) -> Iterator[Stack]:
    """One stack for several modules, over Upstash's REST."""
    with Stack(
        store="rest",
        overrides=LIMITS,
        sleeping=Lane,
        build_folder=new_build_folder(),
        first_token_ms=FIRST_TOKEN_MS,
        tokens_per_second=TOKENS_PER_SECOND,
        qstash_time_scale=0.1,
    ) as running:
        yield running


@pytest.fixture
def plain_stack(shared_stack: Stack) -> Iterator[Stack]:
    """The shared stack, which a test leaves as it was; who does not is named here, and spoils nothing for others."""
    before = {name: pid for name in shared_stack.functions if (pid := shared_stack.pid(name))}
    yield shared_stack
    faults, llm = shared_stack.qstash.faults, shared_stack.llm
    spoilt, pids = llm._provider.faults, {name: shared_stack.pid(name) for name in before}
    left_behind = "left behind in a stack that others use"
    try:
        assert (faults, llm.pace) == (Faults(), Pace(FIRST_TOKEN_MS, TOKENS_PER_SECOND)), left_behind
        assert (spoilt._faults, pids) == ([], before), left_behind
    finally:
        faults.clear()
        spoilt.clear()
        llm.pace.first_token_ms, llm.pace.tokens_per_second = FIRST_TOKEN_MS, TOKENS_PER_SECOND
    assert_at_rest(shared_stack)
