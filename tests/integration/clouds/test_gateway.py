"""Function URLs of the emulated AWS: what was uploaded runs behind them, as on Lambda."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from devstack.clouds.aws import Emulated
from devstack.clouds.aws.gateway.vault import Denied, RoleCredentials, authenticate
from shared.errors import ConfigError
from shared.references import Reference, References
from shared.secrets_manager import SecretsManager
from shared.sigv4 import Credentials, signed_headers
from tests.integration.clouds.lambda_kit import RUN_SH, Function, deploy, package


def test_a_request_reaches_the_version_and_its_answer_comes_back_whole(
    emulated: Emulated, http: httpx.Client
) -> None:
    function = deploy(emulated, http, "echo", variables={"TOLD": "one"})
    answer = http.post(
        f"{function.url}/paid%2Fstream/x?a=1&b=%20",
        content=b"body",
        headers={"Upstash-Signature": "s", "x-amzn-lambda-context": "forged"},
    )
    assert answer.status_code == 201
    said = answer.json()
    assert (said["path"], said["body"], said["told"]) == ("/paid%2Fstream/x?a=1&b=%20", "body", "one")
    headers = {name.lower(): value for name, value in said["headers"].items()}
    assert headers["host"] == httpx.URL(function.url).host
    assert headers["upstash-signature"] == "s"
    context = json.loads(headers["x-amzn-lambda-context"])
    assert context["invoked_function_arn"].endswith(":function:echo:live")
    assert context["env_config"]["version"] == "1"
    assert json.loads(headers["x-amzn-request-context"])["http"]["method"] == "POST"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_version_has_its_own_variables_and_nothing_of_the_emulators(
    emulated: Emulated, http: httpx.Client
) -> None:
    function = deploy(emulated, http, "variables", variables={"TOLD": "mine"})
    said = function.get("/env").json()
    variables = said["variables"]
    assert variables["TOLD"] == "mine"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "variables"
    assert variables["LAMBDA_TASK_ROOT"] == said["cwd"]
    assert {"HOME", "VIRTUAL_ENV", "USER"} & variables.keys() == set()
    assert not [path for path in said["path"] if "/main/.venv/" in path]
    assert variables["AWS_LWA_PORT"] != "8080"  # seven functions share one machine


def test_the_alias_decides_and_weights_share_the_requests(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "weights", variables={"TOLD": "one"})
    second = function.publish(Environment={"Variables": {**_variables(function), "TOLD": "two"}})

    def told(count: int) -> set[str]:
        return {http.post(function.url, content=b"").json()["told"] for _ in range(count)}

    assert told(3) == {"one"}
    function.lead_to("1", **{f"v{second}": 0.5})
    seen = told(60)  # one answer alone would be a chance of 1 in 2**59
    assert seen == {"one", "two"}
    function.lead_to(second)
    assert told(3) == {"two"}


def test_a_stream_arrives_as_it_is_written(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(
        emulated,
        http,
        "streaming",
        mode="RESPONSE_STREAM",
        variables={"AWS_LWA_INVOKE_MODE": "response_stream"},
    )
    with http.stream("GET", f"{function.url}/stream") as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"one"
        function.get("/go")  # only now does the function go on
        assert b"".join(chunks) == b"two"
    assert answer.headers["content-type"] == "text/event-stream"


def test_a_buffered_url_answers_when_all_is_there(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "buffered")
    function.get("/go")
    answer = function.get("/stream")
    assert (answer.text, answer.headers["content-length"]) == ("onetwo", "6")
    assert "transfer-encoding" not in answer.headers
    assert function.get("/large").status_code == 502
    assert http.post(function.url, content=b"x" * 7_000_000).status_code == 413


def test_modes_that_do_not_match_are_told(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "mismatch", variables={"AWS_LWA_INVOKE_MODE": "response_stream"})
    assert function.get("/env").status_code == 502
    assert "InvokeMode" in (emulated.folder / "emulator.log").read_text()


@pytest.mark.parametrize("missing", ["url", "invoke"])
def test_without_both_statements_nobody_comes_in(
    emulated: Emulated, http: httpx.Client, missing: str
) -> None:
    function = deploy(emulated, http, f"private-{missing}")
    assert function.get("/env").status_code == 200
    function.client.remove_permission(FunctionName=function.name, Qualifier="live", StatementId=missing)
    assert function.get("/env").status_code == 403


def test_a_url_that_asks_for_a_signature_lets_nobody_in(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "iam-only")
    where = {"FunctionName": function.name, "Qualifier": "live"}
    function.client.update_function_url_config(**where, AuthType="AWS_IAM")
    assert function.get("/env").status_code == 403


def test_a_url_that_is_gone_answers_not_found(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "gone")
    assert function.get("/env").status_code == 200
    function.client.delete_function(FunctionName=function.name)
    assert function.get("/env").status_code == 404


def test_a_reservation_of_zero_is_a_kill_switch(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "stopped")
    reserve = function.client.put_function_concurrency
    reserve(FunctionName=function.name, ReservedConcurrentExecutions=0)
    assert function.get("/env").status_code == 429
    function.client.delete_function_concurrency(FunctionName=function.name)
    assert function.get("/env").status_code == 200


def test_more_requests_at_once_than_are_reserved_are_refused(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(
        emulated,
        http,
        "reserved",
        mode="RESPONSE_STREAM",
        variables={"AWS_LWA_INVOKE_MODE": "response_stream"},
    )
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=1)
    with http.stream("GET", f"{function.url}/stream") as answer:
        assert next(answer.iter_raw()) == b"one"  # one is running
        assert function.get("/go").status_code == 429
        function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=2)
        assert function.get("/go").status_code == 200


def test_a_crash_is_a_502_and_the_next_request_meets_a_new_process(
    emulated: Emulated, http: httpx.Client
) -> None:
    function = deploy(emulated, http, "crashing")
    first = function.get("/env").json()["pid"]
    assert function.get("/crash").status_code == 502
    assert function.get("/env").json()["pid"] != first


def test_a_crash_in_mid_stream_breaks_the_connection(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(
        emulated,
        http,
        "cutting",
        mode="RESPONSE_STREAM",
        variables={"AWS_LWA_INVOKE_MODE": "response_stream"},
    )
    with http.stream("GET", f"{function.url}/cut") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_a_time_out_is_a_502_and_ends_the_process(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "hanging", timeout_seconds=1)
    first = function.get("/env").json()["pid"]
    assert function.get("/hang").status_code == 502
    assert function.get("/env").json()["pid"] != first


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("not-executable", {"code": package(mode=0o644)}, "not executable"),
        ("no-layer", {"layers": ()}, "no layer of Lambda Web Adapter"),
        ("no-wrapper", {"variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/other"}}, "AWS_LAMBDA_EXEC_WRAPPER"),
        ("exits", {"code": package(run_sh="#!/bin/sh\necho broken; exit 3\n")}, "exited with status 3"),
    ],
)
def test_what_would_not_start_on_lambda_does_not_start_here(
    emulated: Emulated, http: httpx.Client, name: str, changes: dict[str, Any], reason: str
) -> None:
    function = deploy(emulated, http, name, **changes)
    assert function.get("/env").status_code == 502
    assert reason in (emulated.folder / "emulator.log").read_text()


def test_requests_at_once_start_one_process(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "crowd")
    with ThreadPoolExecutor(8) as pool:
        pids = {answer.json()["pid"] for answer in pool.map(lambda _: function.get("/env"), range(8))}
    assert len(pids) == 1


def test_the_package_cannot_be_written_to(emulated: Emulated, http: httpx.Client) -> None:
    run_sh = RUN_SH.replace("exec", "if [ $(stat -c %a .) != 555 ]; then exit 4; fi; exec")
    function = deploy(emulated, http, "read-only", code=package(run_sh=run_sh))
    assert function.get("/env").status_code == 200


def test_other_hosts_are_left_alone(emulated: Emulated, http: httpx.Client) -> None:
    assert "moto" in http.get(f"{emulated.place.endpoint}/moto-api/").text.lower()


def _variables(function: Function) -> dict[str, str]:
    found: dict[str, str] = function.client.get_function_configuration(FunctionName=function.name)[
        "Environment"
    ]["Variables"]
    return found


def _may_read(function: Function, *secrets: str) -> None:
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": list(secrets)}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam: Any = function.aws.session.client("iam")
    iam.put_role_policy(RoleName=function.name, PolicyName="own", PolicyDocument=json.dumps(document))


def _as(function: Function, wanted: dict[str, Reference], **changes: str) -> SecretsManager:
    found = {**function.get("/env").json()["variables"], **changes}
    credentials = Credentials(
        found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"], found["AWS_SESSION_TOKEN"]
    )
    return SecretsManager(
        References(
            by_variable=wanted,
            endpoint_url=found["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
            region=found["AWS_REGION"],
            credentials=credentials,
        )
    )


def test_a_function_reads_its_own_secret_and_no_others(emulated: Emulated, http: httpx.Client) -> None:
    own, other = deploy(emulated, http, "reader"), deploy(emulated, http, "neighbour")
    manager: Any = own.aws.session.client("secretsmanager")
    made = {
        name: manager.create_secret(Name=f"sluice/test/{name}", SecretString=f"value of {name}")
        for name in ("OWN", "OTHER")
    }
    _may_read(own, made["OWN"]["ARN"][:-6] + "??????")
    _may_read(other, made["OTHER"]["ARN"][:-6] + "??????")
    wanted = {
        name: {name: Reference(f"sluice/test/{name}", made[name]["VersionId"])} for name in ("OWN", "OTHER")
    }
    assert _as(own, wanted["OWN"]).fetch() == {"OWN": "value of OWN"}
    assert _as(other, wanted["OTHER"]).fetch() == {"OTHER": "value of OTHER"}
    for function, name in ((own, "OTHER"), (other, "OWN")):
        with pytest.raises(ConfigError, match="AccessDenied"):
            _as(function, wanted[name]).fetch()


def test_a_pinned_version_is_read_after_the_next_one_has_come(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "pinned")
    manager: Any = function.aws.session.client("secretsmanager")
    old = manager.create_secret(Name="sluice/test/PINNED", SecretString="old")
    manager.put_secret_value(SecretId="sluice/test/PINNED", SecretString="new")
    _may_read(function, old["ARN"])
    wanted = {"PINNED": Reference(old["ARN"], old["VersionId"])}
    assert _as(function, wanted).fetch() == {"PINNED": "old"}


def test_a_wrong_secret_key_or_token_reads_nothing(emulated: Emulated, http: httpx.Client) -> None:
    function = deploy(emulated, http, "forger")
    manager: Any = function.aws.session.client("secretsmanager")
    made = manager.create_secret(Name="sluice/test/FORGED", SecretString="hidden")
    _may_read(function, made["ARN"])
    wanted = {"FORGED": Reference(made["ARN"], made["VersionId"])}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        with pytest.raises(ConfigError):
            _as(function, wanted, **{name: "forged"}).fetch()


def test_a_signature_is_of_one_body_and_one_time() -> None:
    issued = RoleCredentials()
    keys = issued.issue("arn:aws:iam::123456789012:role/reader", "eu-central-1")
    credentials = Credentials(keys.access_key, keys.secret_key, keys.token)

    def signed(now: dt.datetime, region: str = "eu-central-1") -> dict[str, str]:
        headers = {"Host": "127.0.0.1", "X-Amz-Target": "secretsmanager.GetSecretValue"}
        made = signed_headers(credentials, headers, b"{}", service="secretsmanager", region=region, now=now)
        return {name.lower(): value for name, value in made.items()}

    now = dt.datetime.now(dt.UTC)
    assert authenticate(issued, "POST", signed(now), b"{}") == keys
    for headers, body in (
        (signed(now), b'{"SecretId": "another"}'),
        (signed(now - dt.timedelta(hours=1)), b"{}"),
        (signed(now, "us-east-1"), b"{}"),
        (signed(now) | {"x-amz-target": "secretsmanager.PutSecretValue"}, b"{}"),
        ({}, b"{}"),
    ):
        with pytest.raises(Denied):
            authenticate(issued, "POST", headers, body)
