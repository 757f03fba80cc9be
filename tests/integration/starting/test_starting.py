"""`python3 -m shared.starting`: secrets come from Secrets Manager, and what runs then is the function as ever."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from devstack.qstash.signing import Keyring
from shared.routing import Lane
from shared.settings import SigningKeys
from tests.integration.starting.kit import (
    PLANTED,
    ROLE,
    ROOT,
    ScriptedManager,
    outcome,
    references,
    refusal,
    running,
    value,
)

LAMP = """
import os, threading
import functions_framework
AT_IMPORT = [thread.name for thread in threading.enumerate()]

@functions_framework.http
def lamp(request):
    return {
        "path": request.path,
        "threads": AT_IMPORT,
        "key": os.environ.get("GLM_API_KEY"),
        "redis": os.environ.get("REDIS_URL"),
        "references": os.environ.get("SLUICE_SECRETS"),
        "role": os.environ.get("AWS_SESSION_TOKEN"),
    }
"""


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """Return the source of a function that tells its surroundings."""
    source = tmp_path / "main.py"
    source.write_text(LAMP)
    return source


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """Moto as a server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def secrets(moto_url: str) -> Any:
    """A client of an empty Secrets Manager."""
    httpx.post(f"{moto_url}/moto-api/reset", trust_env=False)
    return boto3.client(
        "secretsmanager",
        endpoint_url=moto_url,
        region_name=ROLE["AWS_REGION"],
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


def keep(secrets: Any, variable: str, *values: str) -> list[dict[str, str]]:
    """Give a secret one version after the other; returns the references to them."""
    name = f"sluice/test/{variable}"
    made = secrets.create_secret(Name=name, SecretString=values[0])
    versions = [made["VersionId"]]
    versions += [
        secrets.put_secret_value(SecretId=name, SecretString=each)["VersionId"] for each in values[1:]
    ]
    return [{"id": made["ARN"], "version": version} for version in versions]


def test_a_function_finds_its_secrets_as_variables_and_nothing_of_where_they_came_from(
    lamp: Path, secrets: Any, moto_url: str
) -> None:
    old, _ = keep(secrets, "GLM_API_KEY", "the pinned value", "a newer value")
    redis = {**keep(secrets, "REDIS_URL", "redis://x:päss@h:1")[0], "id": "sluice/test/REDIS_URL"}
    wanted = json.dumps({"GLM_API_KEY": old, "REDIS_URL": redis})
    with running(lamp, "lamp", {"SLUICE_SECRETS": wanted, "AWS_ENDPOINT_URL": moto_url}) as url:
        said = httpx.get(f"{url}/some/path", trust_env=False).json()
    assert said == {
        "path": "/some/path",
        "threads": [
            "MainThread"
        ],  # the web server forks: a thread would be lost, and its locks held for ever
        "key": "the pinned value",
        "redis": "redis://x:päss@h:1",
        "references": None,
        "role": ROLE["AWS_SESSION_TOKEN"],  # it reads blobs as that role
    }


def test_without_references_the_framework_runs_at_once_with_what_is_configured(lamp: Path) -> None:
    environ = {"GLM_API_KEY": "plain", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    with running(lamp, "lamp", environ) as url:
        assert httpx.get(url, trust_env=False).json()["key"] == "plain"


def test_a_lane_runs_on_nothing_but_fetched_secrets(secrets: Any, moto_url: str, redis_url: str) -> None:
    key = "sig_of-this-test-alone-0123456789"
    values = {
        "REDIS_URL": redis_url,
        "QSTASH_CURRENT_SIGNING_KEY": key,
        "QSTASH_NEXT_SIGNING_KEY": "sig_the-one-after",
        "GLM_API_KEY": "unused",
    }
    environ = {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto_url,
        "SLUICE_SECRETS": json.dumps({name: keep(secrets, name, text)[0] for name, text in values.items()}),
        "SLUICE_ENV": "staging",
        "ROUTE_URL": "https://free-stream.sluice.test",
    }
    body = json.dumps({"v": 1, "probe": "a-nonce_of-the-tests-0001"}).encode()
    path = "/free/stream/job_match"
    ring = Keyring(SigningKeys(current=key, next="unused"), random.Random())
    signature = ring.sign(environ["ROUTE_URL"] + path, body, now_seconds=time.time())
    with running(ROOT / "functions/free_stream/main.py", "free_stream", environ) as url:
        answer = httpx.post(
            url + path, content=body, headers={"Upstash-Signature": signature}, trust_env=False, timeout=30
        )
    assert (answer.status_code, answer.json()["function"]) == (200, Lane.FREE_STREAM)


def test_a_secret_that_is_not_there_stops_the_function_with_one_line(
    lamp: Path, secrets: Any, moto_url: str
) -> None:
    kept = keep(secrets, "REDIS_URL", PLANTED)[0]
    missing = {"id": "sluice/test/GLM_API_KEY", "version": kept["version"]}
    wanted = json.dumps({"GLM_API_KEY": missing, "REDIS_URL": kept})
    status, said = outcome(lamp, "lamp", {"SLUICE_SECRETS": wanted, "AWS_ENDPOINT_URL": moto_url})
    reason = "Secrets Manager answered ResourceNotFoundException"
    assert said == f"lamp does not start: secrets: GLM_API_KEY: sluice/test/GLM_API_KEY: {reason}\n"
    assert status == 1


def test_a_role_that_may_not_read_a_secret_stops_the_function_with_one_line(lamp: Path) -> None:
    ids = {"GLM_API_KEY": "sluice/test/GLM_API_KEY", "REDIS_URL": "sluice/test/REDIS_URL"}
    scripted = ScriptedManager(
        lambda secret_id, _: value() if "REDIS" in secret_id else refusal("AccessDeniedException")
    )
    with scripted.serve() as endpoint:
        environ = {"SLUICE_SECRETS": references(ids), "AWS_ENDPOINT_URL": endpoint}
        status, said = outcome(lamp, "lamp", environ)
    reason = "Secrets Manager answered AccessDeniedException"
    assert said == f"lamp does not start: secrets: GLM_API_KEY: sluice/test/GLM_API_KEY: {reason}\n"
    assert status == 1


def test_malformed_references_stop_the_function_with_one_line(lamp: Path) -> None:
    status, said = outcome(lamp, "lamp", {"SLUICE_SECRETS": json.dumps({"PATH": {}, "GLM_API_KEY": PLANTED})})
    assert said.startswith("lamp does not start: configuration: SLUICE_SECRETS names 'PATH'")
    assert "GLM_API_KEY must have an id and a version" in said
    assert said.count("\n") == 1
    assert "hunter2" not in said
    assert status == 1


def test_what_it_can_be_told_is_explained() -> None:
    command = [sys.executable, "-m", "shared.starting"]
    helped = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "SLUICE_SECRETS" in helped.stdout
    assert "--target" in helped.stdout
    wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode != 0
    assert "--target" in wrong.stderr


def test_starting_takes_nothing_but_light_parts_of_the_standard_library() -> None:
    """What it imports, every cold start pays for before the function's own imports."""
    code = "import shared.starting, sys; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    packages = {name.partition(".")[0] for name in loaded} - {"__main__"}
    assert packages - set(sys.stdlib_module_names) == {"shared"}
    assert loaded.isdisjoint({"asyncio", "multiprocessing", "urllib.request", "sqlite3", "unittest"})
    assert {name for name in loaded if name.startswith("shared.")} == {
        f"shared.{name}"
        for name in (
            *("config", "errors", "references", "routing", "secrets_manager", "settings"),
            *("sigv4", "starting", "telemetry", "telemetry.variables", "variables"),
        )
    }
