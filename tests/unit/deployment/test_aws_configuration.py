"""What a version is made of, policy documents in one form, and the placeholder as a process."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import Refused
from deployment.providers.aws.configuration import (
    NEUTRAL,
    Blueprint,
    differing,
    fingerprint_of,
    is_code_of,
    settings_of,
)
from deployment.providers.aws.documents import normalised
from deployment.providers.aws.placeholder import placeholder, placeholder_package
from deployment.states import FunctionState
from devstack.frontend import until
from tests.unit.deployment.aws_kit import LAYER, state

ROLE = "arn:aws:iam::123456789012:role/sluice-staging-free-stream"


def resolved(**changes: Any) -> FunctionState:
    return state("free_stream", **changes).resolved({"free_stream": "https://a.example"})


def blueprint(**changes: Any) -> Blueprint:
    settings = settings_of(resolved(**changes), role_arn=ROLE, streams=False)
    return Blueprint(settings["Description"], settings, "x86_64", "digest", {})


def as_lambda_tells(made: Blueprint, **changes: Any) -> dict[str, Any]:
    layers = [{"Arn": arn, "CodeSize": 1} for arn in made.settings["Layers"]]
    told = {**made.settings, "Layers": layers, "CodeSha256": "digest", "Architectures": ["x86_64"]}
    return told | {"TracingConfig": {"Mode": "PassThrough"}, "SnapStart": {"ApplyOn": "None"}} | changes


def test_a_state_is_lambdas_settings() -> None:
    settings = settings_of(resolved(), role_arn=ROLE, streams=False)
    assert settings["Handler"] == "run.sh"
    assert settings["Runtime"] == "python3.13"
    assert settings["Layers"] == [LAYER]
    assert settings["Environment"]["Variables"] == {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
        "AWS_LWA_INVOKE_MODE": "buffered",
        "AWS_LWA_PORT": "8080",
        "AWS_LWA_READINESS_CHECK_PATH": "/robots.txt",
        "FUNCTION_TARGET": "free_stream",
        "ROUTE_URL": "https://a.example",
        "SLUICE_ENV": "staging",
        "SLUICE_SECRETS": '{"REDIS_URL":{"id":"sluice/staging/REDIS_URL","version":"' + "v" * 32 + '"}}',
        "THREADS": "8",
    }
    assert fingerprint_of(settings["Description"]) == resolved().fingerprint


def test_what_streams_is_passed_on_as_it_comes() -> None:
    settings = settings_of(resolved(), role_arn=ROLE, streams=True)
    assert settings["Environment"]["Variables"]["AWS_LWA_INVOKE_MODE"] == "response_stream"


def test_variables_beyond_lambdas_limit_are_refused_before_anything_is_called() -> None:
    with pytest.raises(Refused, match=r"free_stream: its variables take \d,\d\d\d bytes.*4,096"):
        settings_of(resolved(variables={"LONG": "x" * 4000}), role_arn=ROLE, streams=False)


def test_equal_settings_are_no_difference() -> None:
    assert differing(as_lambda_tells(blueprint()), blueprint()) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"MemorySize": 1},
        {"Timeout": 1},
        {"Role": "another"},
        {"Runtime": "python3.12"},
        {"Handler": "main.py"},
        {"Layers": []},
        {"Description": "sluice placeholder"},
        {"Environment": {"Variables": {"SLUICE_ENV": "staging"}}},
        {"Environment": {"Error": {"ErrorCode": "x"}}},
        {"VpcConfig": {"SubnetIds": ["s"], "SecurityGroupIds": []}},
        {"DeadLetterConfig": {"TargetArn": "arn"}},
        {"KMSKeyArn": "arn"},
        {"TracingConfig": {"Mode": "Active"}},
        {"EphemeralStorage": {"Size": 1024}},
        {"FileSystemConfigs": [{"Arn": "arn"}]},
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
    ],
    ids=str,
)
def test_any_other_setting_is_a_difference_and_is_written_back(changed: dict[str, Any]) -> None:
    written = differing(as_lambda_tells(blueprint(), **changed), blueprint())
    (key,) = changed
    assert written[key] == {**NEUTRAL, **blueprint().settings}[key]


@pytest.mark.parametrize("changed", [{"CodeSha256": "other"}, {"Architectures": ["arm64"]}], ids=str)
def test_another_package_or_architecture_is_other_code(changed: dict[str, Any]) -> None:
    assert is_code_of(as_lambda_tells(blueprint()), blueprint())
    assert not is_code_of(as_lambda_tells(blueprint(), **changed), blueprint())


def test_documents_that_say_the_same_are_equal() -> None:
    one = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["b", "a"],
            "Resource": "r",
            "Condition": {"Bool": {"k": True}},
        },
    }
    other = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Resource": ["r"],
                "Action": ["a", "b"],
                "Principal": "*",
                "Effect": "Allow",
                "Condition": {"Bool": {"k": ["true"]}},
            }
        ],
    }
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"Effect": "Deny"},
        {"Action": "b"},
        {"Resource": "*"},
        {"Condition": {}},
        {"NotAction": "a"},
        {"Principal": {"AWS": "1"}},
    ],
    ids=str,
)
def test_documents_that_say_something_else_differ(changed: dict[str, Any]) -> None:
    one = {"Effect": "Allow", "Action": "a", "Resource": "r", "Condition": {"Bool": {"k": "true"}}}
    assert normalised({"Statement": [one]}) != normalised({"Statement": [one | changed]})


def test_the_placeholder_is_the_same_bytes_each_time() -> None:
    assert placeholder_package() == placeholder_package()
    made = placeholder(role_arn=ROLE, layers=(LAYER,), python="3.13", architecture="x86_64", streams=False)
    assert made.code["ZipFile"] == placeholder_package()


def test_the_placeholder_answers_503_to_everything_and_is_ready(tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(placeholder_package())) as archive:
        archive.extractall(tmp_path)
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755
    (tmp_path / "run.sh").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    environment = {
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "AWS_LWA_PORT": str(port),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }
    with subprocess.Popen([tmp_path / "run.sh"], env=environment) as process:
        try:
            until(lambda: answers(port, "GET", "/robots.txt") == 404 or None, "the placeholder to listen", 60)
            for method, path in (("POST", "/free/stream/job_match"), ("GET", "/"), ("HEAD", "/healthz")):
                assert answers(port, method, path) == 503
        finally:
            process.terminate()


def answers(port: int, method: str, path: str) -> int | None:
    """Return the status of an answer, None when nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()
