from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.clouds.aws.in_process import InProcess, in_process
from tests.unit.clouds.aws_kit import ready_function


@pytest.fixture
def aws() -> Iterator[InProcess]:
    with in_process() as made:
        yield made


@pytest.fixture
def plain(aws: InProcess) -> Any:
    """moto alone."""
    return aws.plain("lambda")


@pytest.fixture
def strict(aws: InProcess) -> Any:
    """A client of a function that is ready."""
    return ready_function(aws)
