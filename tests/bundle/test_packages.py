"""Each package that is deployed imports and answers from nothing but itself, outside of the repository."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deployment.bundles.components import locked_archives
from deployment.bundles.importing import placeholders
from deployment.bundles.packaging import Package, package
from deployment.bundles.staging import BUILD_FOLDER
from deployment.bundles.targets import Target
from deployment.catalogue import ROOT
from devstack.qstash.signing import Keyring
from shared.routing import Lane, templates_of
from shared.settings import SigningKeys
from tests.bundle.packages_kit import (
    CATALOGUE,
    DEADLINE_SECONDS,
    bare_python,
    build_packages,
    elsewhere,
    running,
)

pytestmark = pytest.mark.timeout(1200)  # the first run on a machine installs and compiles everything
LLM_LIBRARIES = {"langchain_core", "langchain_openai", "langsmith", "openai", "tiktoken"}
SENDING = ("shared.telemetry.recording", "shared.telemetry.exporting")
"""What needs packages that only an environment with `telemetry = true` gets."""
NONCE = "a-nonce_of-the-tests-0001"
LOAD = """
import importlib, json, pkgutil, sys
tree, repository, target, *left_out = sys.argv[1:]
sys.path.insert(0, tree)
seen = {"open": set(), "compile": set()}
sys.addaudithook(lambda event, args: event in seen and seen[event].add(str(args[event == "compile"])))
import functions_framework, main, shared
for found in pkgutil.walk_packages(shared.__path__, "shared."):
    if found.name not in left_out: importlib.import_module(found.name)
homes = (tree + "/", sys.base_prefix + "/")
print(json.dumps({
    "callable": callable(getattr(main, target)),
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "strangers": sorted(m.__file__ for m in list(sys.modules.values())
                        if getattr(m, "__file__", None) and not m.__file__.startswith(homes)),
    "opened": sorted(path for path in seen["open"] if path.startswith(repository) and not path.startswith(tree)),
    "compiled": sorted(path for path in seen["compile"] if path.startswith(tree)),
}))
"""


@functools.cache
def packages() -> dict[str, Package]:
    return build_packages()


def tree(name: str) -> Path:
    """Return where a function's package is unpacked."""
    return packages()[name].unpack(BUILD_FOLDER / "unpacked")


@functools.cache
def load(name: str) -> dict[str, list[str]]:
    """Import all of a package but what sends traces, and return what that did."""
    return loaded_from(tree(name), name, *SENDING)


def loaded_from(folder: Path, name: str, *left_out: str) -> dict[str, list[str]]:
    """Import all of an unpacked package in an interpreter without any other, and return what that did."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", LOAD, folder, ROOT, name, *left_out],
        env=placeholders(CATALOGUE[name]),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded: dict[str, list[str]] = json.loads(ran.stdout.splitlines()[-1])
    return loaded


def contents(name: str) -> set[str]:
    with zipfile.ZipFile(packages()[name].zip_file) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_package_imports_all_of_itself_and_opens_nothing_of_the_repository(name: str) -> None:
    loaded = load(name)
    assert loaded["callable"]
    assert loaded["strangers"] == []
    assert loaded["opened"] == []


def test_with_telemetry_a_package_holds_what_sends_and_does_not_load_it_at_its_start() -> None:
    spec = dataclasses.replace(CATALOGUE["events"], extras=("telemetry",))
    [made] = package([spec], Target.here(), BUILD_FOLDER)
    assert "opentelemetry" in loaded_from(made.unpack(BUILD_FOLDER / "unpacked"), "events")["modules"]
    assert not [name for name in made.manifest.modules_at_start or () if name.startswith("opentelemetry")]
    assert "opentelemetry" not in load("events")["modules"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_nothing_is_compiled_at_a_start(name: str) -> None:
    compiled = {Path(path).relative_to(tree(name)).parts[0] for path in load(name)["compiled"]}
    assert compiled <= {"anyio"}  # reads its own source, to find out what it will import late


@pytest.mark.parametrize("name", ["actions", "events"])
def test_who_takes_requests_from_outside_holds_no_llm_library(name: str) -> None:
    assert LLM_LIBRARIES.isdisjoint(load(name)["modules"])
    assert LLM_LIBRARIES.isdisjoint({path.split("/")[0].split("-")[0] for path in contents(name)})
    assert not any(path.startswith(("shared/llm", "shared/lanes")) for path in contents(name))


@pytest.mark.parametrize("name", Lane)
def test_a_lane_holds_the_llm_library_and_no_other_lane(name: str) -> None:
    assert "langchain_openai/__init__.py" in contents(name)
    assert not any(path.startswith(("functions/", "shared/actions")) for path in contents(name))


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_package_holds_what_belongs_to_builders_and_tests(name: str) -> None:
    top = {path.split("/")[0] for path in contents(name)}
    barred = {
        "bin",
        "requirements.txt",
        "boto3",
        "botocore",
        "deployment",
        "devstack",
        "moto",
        "pip",
        "pytest",
        "tests",
    }
    assert top & barred == set()
    assert [path for path in contents(name) if path.endswith(("/RECORD", "/INSTALLER", ".pth"))] == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_bill_of_materials_is_valid_and_is_what_is_inside_and_what_was_locked(name: str) -> None:
    text = packages()[name].sbom_file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    listed = {(each["name"], each["version"]) for each in document["components"]}
    lock = (ROOT / "requirements" / f"{CATALOGUE[name].requirements}.txt").read_text()
    inside = {path.split("/")[0] for path in contents(name) if path.endswith(".dist-info/METADATA")}
    assert len(listed) == len(inside)
    assert listed <= set(locked_archives(lock))
    unlicensed = [each["name"] for each in document["components"] if not each.get("licenses")]
    assert unlicensed == []


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_python(tmp_path_factory.mktemp("python") / "bare")


@pytest.fixture
def served(request: pytest.FixtureRequest, python: Path, redis_url: str, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a function's package, run by its own run.sh outside of the repository."""
    name: str = request.param
    variables = placeholders(CATALOGUE[name]) | {"REDIS_URL": redis_url}
    with elsewhere(tree(name), tmp_path) as copy, running(copy, python, variables, tmp_path / "log") as url:
        yield url


def probe(url: str, public: str, path: str, key: str) -> httpx.Response:
    """Send a probe to `url`, signed for `public`."""
    body = json.dumps({"v": 1, "probe": NONCE}).encode()
    ring = Keyring(SigningKeys(current=key, next="unused"), random.Random())
    signature = ring.sign(public + path, body, now_seconds=time.time())
    headers = {"Upstash-Signature": signature}
    return httpx.post(url + path, content=body, headers=headers, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize(("served", "name"), [(lane, lane) for lane in Lane], indirect=["served"])
def test_a_lane_answers_what_is_signed_for_it_and_refuses_the_rest(served: str, name: Lane) -> None:
    path = name.path(templates_of(name)[0])
    known = placeholders(CATALOGUE[name])
    key, public = known["QSTASH_CURRENT_SIGNING_KEY"], known["ROUTE_URL"]

    accepted = probe(served, public, path, key)
    assert accepted.json() == {"status": "probe", "function": name.value, "nonce": NONCE}
    assert httpx.post(served + path, json={}).status_code == 401
    assert probe(served, public, path, "another key".ljust(40, "-")).status_code == 401
    assert probe(served, "http://127.0.0.1:2", path, key).status_code == 401
    assert httpx.get(served + path).status_code == 405
    assert httpx.post(served + "/paid/stream/nonsense", json={}).status_code == 404


@pytest.mark.parametrize("served", ["actions"], indirect=True)
def test_actions_is_healthy_and_wants_to_know_who_asks(served: str) -> None:
    assert httpx.get(f"{served}/healthz", timeout=DEADLINE_SECONDS).json()["ok"] is True
    assert httpx.get(f"{served}/quota").status_code == 401
    assert httpx.post(f"{served}/callbacks/sweep", json={}).status_code == 401


@pytest.mark.parametrize("served", ["events"], indirect=True)
def test_events_shows_nothing_without_a_token_for_the_channel(served: str) -> None:
    assert httpx.get(f"{served}/events/service/task", timeout=DEADLINE_SECONDS).status_code == 401
    assert httpx.get(f"{served}/events/service/task?token=forged").status_code == 401
