"""Each built bundle starts outside the repository, from nothing but itself and its requirements."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployment.bundles.staging import stage
from deployment.catalogue import load_catalogue
from shared.routing import Lane

CATALOGUE = load_catalogue()
SECRET = "s" * 32
EVERY_VARIABLE = {
    "SLUICE_ENV": "dev",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "QSTASH_URL": "http://127.0.0.1:1",
    "QSTASH_TOKEN": SECRET,
    "QSTASH_CURRENT_SIGNING_KEY": SECRET,
    "QSTASH_NEXT_SIGNING_KEY": SECRET,
    "ROUTE_URL": "http://127.0.0.1:1",
    **{f"{name.upper()}_URL": "http://127.0.0.1:1" for name in (*CATALOGUE, "deepseek_base", "glm_base")},
    "DEEPSEEK_API_KEY": SECRET,
    "GLM_API_KEY": SECRET,
    "AUTH_JWT_SECRET": SECRET + "auth",
    "STREAM_TOKEN_SECRET": SECRET,
    "BLOB_URL": "file:///tmp",
}
LOAD = """
import importlib, json, pathlib, pkgutil, sys
import functions_framework
target = sys.argv[1]
import main, shared
started = sorted(sys.modules)
for found in pkgutil.walk_packages(shared.__path__, "shared."):
    importlib.import_module(found.name)
warm = None
if "shared.lanes" in sys.modules:
    from shared.llm.runner import warm
    from shared.routing import Lane, templates_of
    warm(templates_of(Lane(target))[0])
print(json.dumps({
    "callable": callable(getattr(main, target)),
    "started": started,
    "warm": warm is not None,
    "shared": sorted(name for name in sys.modules if name.startswith("shared.")),
    "files": sorted({str(pathlib.Path(m.__file__).resolve()) for n, m in sys.modules.items()
                     if n.split(".")[0] in {"main", "shared"} and getattr(m, "__file__", None)}),
}))
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build all bundles and return a copy that knows nothing of the repository."""
    folder = tmp_path_factory.mktemp("bundles")
    for bundle in stage(CATALOGUE.values(), folder / "build"):
        shutil.copytree(bundle.folder, folder / "elsewhere" / bundle.name)
    return folder / "elsewhere"


def environment(name: str) -> dict[str, str]:
    allowed = CATALOGUE[name].environment_names
    variables = {key: value for key, value in EVERY_VARIABLE.items() if key in allowed}
    return variables | {"PATH": os.environ["PATH"], "HOME": "/dev/null/nowhere"}


@functools.cache
def load(folder: Path) -> dict[str, Any]:
    """Import a bundle in a process of its own, make a lane warm, and return what that loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, folder.name],
        cwd=folder,
        env=environment(folder.name),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return loaded


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_bundle_imports_all_of_itself_from_itself_and_needs_no_repository(bundles: Path, name: str) -> None:
    loaded = load(bundles / name)
    assert loaded["callable"]
    assert [file for file in loaded["files"] if not file.startswith(str(bundles / name))] == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_function_starts_without_loading_an_llm_library(bundles: Path, name: str) -> None:
    heavy = {"langchain_core", "langchain_openai", "openai", "langsmith", "tiktoken", "obstore", "qstash"}
    assert heavy.isdisjoint(load(bundles / name)["started"])


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_lane_is_made_warm_by_what_its_own_bundle_holds(bundles: Path, name: str) -> None:
    assert load(bundles / name)["warm"] == (name in set(Lane))


@pytest.mark.parametrize("name", ["actions", "events"])
def test_a_function_without_a_lane_holds_no_prompts_and_no_runner(bundles: Path, name: str) -> None:
    assert not (bundles / name / "shared" / "llm").exists()
    assert not (bundles / name / "shared" / "lanes").exists()


@pytest.mark.parametrize("name", CATALOGUE)
def test_only_actions_can_publish(bundles: Path, name: str) -> None:
    assert (bundles / name / "shared" / "actions").exists() == (name == "actions")


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_bundle_holds_anything_of_the_dev_stack_or_the_tests(bundles: Path, name: str) -> None:
    top = {path.name for path in (bundles / name).iterdir()} - {"__pycache__"}
    assert top == {"main.py", "requirements.txt", "run.sh", "shared"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_handler_has_at_most_25_lines(bundles: Path, name: str) -> None:
    assert len((bundles / name / "main.py").read_text().splitlines()) <= 25


def start(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a function as its platform does, with nothing but these variables; it must end by itself."""
    command = [sys.executable, "-m", "functions_framework", "--source", "main.py", "--target", folder.name]
    return subprocess.run(
        [*command, "--host", "127.0.0.1", "--port", "0"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_function_that_lacks_a_variable_does_not_start_and_names_it(bundles: Path, name: str) -> None:
    variables = environment(name)
    missing = "STREAM_TOKEN_SECRET" if "STREAM_TOKEN_SECRET" in variables else "ROUTE_URL"
    del variables[missing]

    ended = start(bundles / name, variables | {"LEASE_SECONDS": "soon"})

    assert ended.returncode != 0
    assert f"{name} does not start" in ended.stderr
    assert f"{missing} is missing" in ended.stderr
    assert "LEASE_SECONDS" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["actions", "paid_stream"])
def test_a_function_with_the_public_dev_keys_does_not_start_outside_dev(bundles: Path, name: str) -> None:
    known = {"QSTASH_CURRENT_SIGNING_KEY": "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", "SLUICE_ENV": "staging"}
    ended = start(bundles / name, environment(name) | known)
    assert ended.returncode != 0
    assert "QSTASH_CURRENT_SIGNING_KEY" in ended.stderr
    assert "public" in ended.stderr
