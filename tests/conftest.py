"""Fixtures that more than one folder of tests uses: a real Valkey for each worker, and stores on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deployment.bundles.staging import stage
from deployment.catalogue import load_catalogue
from devstack.valkey import EmbeddedValkey
from shared.state.store import Store, TcpStore
from tests.order_kit import spread

# How long an example takes says something of the machine (and of Hypothesis's first run, when it builds its tables
# of Unicode), nothing of the rule.
settings.register_profile("sluice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sluice")


TESTS = Path(__file__).parent
THOROUGH = frozenset(
    TESTS / name
    for name in (
        "browser/test_page_faults.py",
        "bundle/test_packages.py",
        "e2e/deployment/test_commands_live.py",
        "e2e/deployment/test_deploy_document.py",
        "e2e/deployment/test_rotation_live.py",
        "e2e/test_api_document.py",
        "e2e/test_demo_command.py",
        "e2e/test_reliability_provider.py",
        "e2e/test_reliability_redis_faults.py",
        "e2e/test_reliability_waiting.py",
        "e2e/test_soak.py",
        "e2e/test_weak_models.py",
        "integration/deployment/test_aws_faults.py",
        "integration/deployment/test_gcp_faults.py",
        "integration/test_ops_promtool.py",
        "integration/test_reconcile_stack.py",
    )
)
"""A minute each, or more: every package built and run, every call of a deployment broken in every way, commands and
documents on real processes; and faults of the whole stack whose parts `make test` breaks one by one (tests/integration:
redis_faults, llm_faults, weak_models, transitions). `make test` leaves them out, `make thorough` runs them: before a
release, and whoever touched them."""


def pytest_configure() -> None:
    """Let programs that tests start be ended by Ctrl-C, also when the tests run in a script's background.

    A shell has SIGINT ignored there, and whoever is started inherits that; one that is handled here is not
    ignored in a new program.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what `make test` leaves out: it takes each worker seconds."""
    return True if collection_path in THOROUGH and config.option.markexpr == "not thorough" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark what is thorough before it is chosen; order what was chosen, and shuffled, for the workers there are."""
    for item in items:
        if item.path in THOROUGH:
            item.add_marker(pytest.mark.thorough)
    yield
    items[:] = spread(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), stack_of)


def stack_of(item: pytest.Item) -> Path | None:
    """Return whose stack or bundles a test runs: its module's, or its folder's where one serves all of it."""
    fixtures = getattr(item, "fixturenames", ())
    if "shared_stack" in fixtures or "served" in fixtures:
        return item.path.parent
    return item.path if "bundles" in fixtures else None  # what every stack is built of


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundles of all functions, staged once for all workers: who runs one first compiles it for the others."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return {each.name: each.folder for each in stage(load_catalogue().values(), folder / "bundles")}


@pytest.fixture(scope="module")
def build_folder(new_build_folder: Callable[[], Path]) -> Path:
    """Where a module's stack finds the bundles, and leaves its logs: two stacks must not share those."""
    return new_build_folder()


@pytest.fixture(scope="session")
def new_build_folder(
    bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    def made() -> Path:
        folder = tmp_path_factory.mktemp("build")
        for name, bundle in bundles.items():
            (folder / name).symlink_to(bundle)
        return folder

    return made


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """One server for all tests of this process; a test that kills its server takes `own_valkey`."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The address of an empty Redis."""
    flusher = TcpStore(valkey.url)
    flusher.command("FLUSHALL")
    flusher.close()
    return valkey.url


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """A TCP store on an empty Redis."""
    opened = TcpStore(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server for one test alone, to kill, pause and restart."""
    with EmbeddedValkey() as server:
        yield server
