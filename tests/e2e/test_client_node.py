"""The client for frontends, in Node: its own tests, and those against a running stack. They stand in tests/client."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.stack import Stack
from shared.routing import Lane
from tests.client.harness import FOLDER, ROOT, controlled, find_tsc, run_node, run_test_file

pytestmark = pytest.mark.timeout(180)  # a file of tests at a time
CLIENT = ROOT / "client"
ALONE = sorted(FOLDER.glob("*.test.js"))
LIVE = sorted((FOLDER / "stack").glob("*.test.js"))


@pytest.fixture(scope="module")
def addresses(build_folder: Path) -> Iterator[dict[str, str]]:
    overrides = {
        "LEASE_SECONDS": "2",
        "WORKER_TIMEOUT_SECONDS": "30",
        "MAX_WAIT_SECONDS_STREAM": "40",
        "USER_MAX_ACTIVE": "2",
        "INITIAL_QUOTA": "100",
        "HEARTBEAT_SECONDS": "1",
        "STREAM_TOKEN_TTL_SECONDS": "1",
        "STREAM_FLUSH_INTERVAL_MS": "20",
        "DEEPSEEK_MAX_WORKERS": "6",
    }
    with (
        Stack(
            overrides=overrides,
            sleeping=Lane,
            build_folder=build_folder,
            first_token_ms=50,
            tokens_per_second=4_000,
            qstash_time_scale=0.1,
        ) as stack,
        controlled(stack) as found,
    ):
        yield found


@pytest.mark.parametrize("file", ALONE, ids=lambda file: file.name)
def test_the_client_keeps_its_rules(file: Path) -> None:
    """D29, D32, D34: whatever happens to a connection, in virtual time."""
    run_test_file(file)


@pytest.mark.parametrize("file", LIVE, ids=lambda file: file.name)
def test_the_client_keeps_its_rules_with_a_running_stack(file: Path, addresses: dict[str, str]) -> None:
    """D29, D32, D34, D35: with a real bridge, real workers, and a network that is really cut."""
    run_test_file(file, addresses)


def test_every_export_of_the_module_is_in_its_types() -> None:
    said = run_node(
        "--input-type=module",
        "-e",
        "console.log(JSON.stringify(Object.keys(await import('./client/sluice.js'))))",
    )
    types = (CLIENT / "sluice.d.ts").read_text(encoding="utf-8")
    declared = re.findall(r"^export (?:class|function|const) (\w+)", types, re.MULTILINE)
    assert sorted(declared) == sorted(json.loads(said))


def test_the_types_fit_how_a_frontend_uses_them() -> None:
    """What is right compiles, and what is wrong does not: the file says which is which."""
    flags = (
        "--noEmit --strict --target es2022 --lib es2024,dom,dom.iterable,dom.asynciterable --module nodenext"
    )
    said = subprocess.run(
        [find_tsc(), *flags.split(), str(FOLDER / "types.ts")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout


def test_the_client_has_no_dependencies_and_ships_what_it_names() -> None:
    package = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    assert {"dependencies", "peerDependencies", "optionalDependencies"}.isdisjoint(package)
    assert not re.search(r"^\s*import\b", (CLIENT / "sluice.js").read_text(encoding="utf-8"), re.MULTILINE)
    for name in (*package["files"], package["types"], *package["exports"]["."].values()):
        assert (CLIENT / name).is_file(), name
