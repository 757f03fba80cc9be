"""The rules across `infra/`: what is refused before anything is called, each named by file, table and key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

from deployment.catalogue import FunctionSpec, load_catalogue
from deployment.environments import (
    AwsPlace,
    Environment,
    Overrides,
    Platform,
    Services,
    Target,
    load_environment,
)
from deployment.problems import FilesRefused
from deployment.validation import check, refuse_problems
from deployment.validation.starts import start_problems
from shared.config import PUBLIC_DEV_KEYS
from shared.routing import Lane
from shared.settings import Env
from tests.unit.deployment.environment_kit import ACCOUNT, LAYER, REGION, on_aws, on_gcp

CATALOGUE = load_catalogue()
FUNCTIONS, PROD, STAGING = (
    "infra/functions.toml",
    "infra/environments/prod.toml",
    "infra/environments/staging.toml",
)
SECRETS_IN_FULL = (
    "sk-0123456789abcdef0123456789abcdef",
    "sig_0123456789abcdefghijklmn",
    "AKIA0123456789ABCDEF",
)


def lines(environment: Environment, catalogue: Mapping[str, FunctionSpec] = CATALOGUE) -> list[str]:
    return [str(problem) for problem in check(catalogue, environment)]


def aws_with(**variables: str) -> Environment:
    return on_aws(variables={**on_aws().variables, **variables})


def aws_at(**changes: Any) -> Environment:
    place = {"account": ACCOUNT, "region": REGION, "bucket": "sluice-artefacts", "adapter_layer": LAYER}
    return on_aws(aws=AwsPlace(**(place | changes)))


def differing(function: str, **changes: Any) -> dict[str, Overrides]:
    return {function: Overrides(**changes)}


def catalogue_with(function: str, **changes: Any) -> dict[str, FunctionSpec]:
    return {**CATALOGUE, function: dataclasses.replace(CATALOGUE[function], **changes)}


def with_secret(function: str, secret: str) -> dict[str, FunctionSpec]:
    return catalogue_with(function, secrets=(*CATALOGUE[function].secrets, secret))


def without(function: str, name: str) -> dict[str, FunctionSpec]:
    spec = CATALOGUE[function]
    kept = {
        kind: tuple(each for each in getattr(spec, kind) if each != name) for kind in ("variables", "secrets")
    }
    return catalogue_with(function, **kept)


# --- what is right


@pytest.mark.parametrize("environment", [on_aws(), on_aws(redis="rest"), on_gcp(), on_gcp(redis="rest")])
def test_a_complete_environment_has_no_problem(environment: Environment) -> None:
    assert lines(environment) == []
    refuse_problems(CATALOGUE, environment)


@pytest.mark.parametrize("name", ["dev", "emulated-aws", "emulated-gcp"])
def test_the_environments_for_development_are_ready_before_and_after_their_services_run(name: str) -> None:
    environment = load_environment(name)
    assert environment.services is not None
    supplied = dict.fromkeys(environment.services.variables, "http://127.0.0.1:7000")
    supplied["BLOB_URL"] = "file:///srv/images"
    assert lines(environment) == lines(environment.supplied(supplied)) == []


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_real_ones_wait_for_what_is_to_be_filled_in_and_for_nothing_else(name: str) -> None:
    problems = lines(load_environment(name))
    assert problems
    assert all("is still to be filled in: <" in problem for problem in problems)


def test_public_keys_of_an_issuer_take_the_place_of_the_secret() -> None:
    assert lines(aws_with(AUTH_JWKS_URL="https://login.example/keys", AUTH_AUDIENCE="a1b2" * 8)) == []


def test_a_collector_beside_the_function_is_no_address_of_development() -> None:
    variables = {**on_aws().variables, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
    assert lines(on_aws(telemetry=True, variables=variables)) == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (on_aws(telemetry=True), "telemetry: is true, but [variables] has no OTEL_EXPORTER_OTLP_ENDPOINT to send to"),
        (aws_with(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://x.example/v1/traces"), "[variables] OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: needs `telemetry = true` at the top of the file"),
        (on_aws(secrets={"OTEL_EXPORTER_OTLP_HEADERS": "collector"}), "[secrets] OTEL_EXPORTER_OTLP_HEADERS: is not needed: telemetry is not true"),
    ],
)  # fmt: skip
def test_traces_that_would_go_nowhere_and_an_address_that_nothing_sends_to_are_refused(
    environment: Environment, said: str
) -> None:
    assert any(said in line for line in lines(environment)), lines(environment)


# --- isolation: who is handed what


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        (with_secret("free_stream", "DEEPSEEK_API_KEY"), "[functions.free_stream] uses: hands over DEEPSEEK_API_KEY, which free_stream must not hold: it calls glm alone, and this is the key of deepseek"),
        (with_secret("paid_batch", "GLM_API_KEY"), "[functions.paid_batch] uses: hands over GLM_API_KEY, which paid_batch must not hold: it calls deepseek alone"),
        (with_secret("paid_batch", "QSTASH_TOKEN"), "[functions.paid_batch] uses: hands over QSTASH_TOKEN, which paid_batch must not hold"),
        (with_secret("actions", "GLM_API_KEY"), "[functions.actions] uses: hands over GLM_API_KEY, which actions must not hold"),
        (with_secret("events", "QSTASH_NEXT_SIGNING_KEY"), "[functions.events] uses: hands over QSTASH_NEXT_SIGNING_KEY, which events must not hold"),
        (without("events", "STREAM_TOKEN_SECRET"), "[functions.events] uses: does not hand over STREAM_TOKEN_SECRET, which events needs"),
        (catalogue_with("events", variables=(*CATALOGUE["events"].variables, "QSTASH_TOKEN")), "[functions.events] uses: hands over QSTASH_TOKEN in plain text; it is a secret"),
        (catalogue_with("events", optional_secrets=("STREAM_TOKEN_SECRET",)), "[functions.events] uses: declares STREAM_TOKEN_SECRET as optional, but events needs it"),
        (catalogue_with("events", variables=(*CATALOGUE["events"].variables, "BLOB_URL")), "[functions.events] uses: hands over BLOB_URL; by deployment/holdings.py events has images: none"),
        (without("paid_vision", "BLOB_URL"), "[functions.paid_vision] uses: does not hand over BLOB_URL"),
        (without("paid_stream", "ROUTE_URL"), "[functions.paid_stream] uses: ROUTE_URL is missing"),
        ({name: spec for name, spec in CATALOGUE.items() if name != "events"}, "[functions.events]: is missing"),
        ({**CATALOGUE, "lamp": dataclasses.replace(CATALOGUE["events"], name="lamp")}, "[functions.lamp]: is unknown to deployment/holdings.py"),
        (catalogue_with("events", variables=(*CATALOGUE["events"].variables, "AWS_REGION")), "[functions.events] uses: hands over AWS_REGION, a name that Lambda keeps to itself"),
    ],
)  # fmt: skip
def test_a_catalogue_that_hands_over_what_is_not_the_function_s_is_refused(
    catalogue: Mapping[str, FunctionSpec], said: str
) -> None:
    problems = lines(on_aws(), catalogue)
    assert any(line.startswith(f"{FUNCTIONS}: {said}") for line in problems), problems


@pytest.mark.parametrize("lane", list(Lane))
def test_no_lane_can_be_given_any_secret_beyond_its_own(lane: Lane) -> None:
    every = {secret for spec in CATALOGUE.values() for secret in spec.secrets}
    for secret in every - set(CATALOGUE[lane].secrets):
        problems = lines(on_aws(), with_secret(lane, secret))
        assert any(f"hands over {secret}, which {lane} must not hold" in line for line in problems)


def test_why_a_key_is_not_a_lane_s_is_said_of_lanes_alone() -> None:
    assert lines(on_aws(), with_secret("actions", "GLM_API_KEY")) == [
        f"{FUNCTIONS}: [functions.actions] uses: hands over GLM_API_KEY, which actions must not hold"
    ]


def test_two_functions_with_one_url_are_refused() -> None:
    urls = {
        "paid_stream": "https://fn.example/a",
        "free_stream": "https://FN.example/a",
        "events": "https://e.example",
    }
    assert lines(on_aws(urls=urls)) == [
        f"{PROD}: [urls] paid_stream: is the address of free_stream too: what is signed for one is good for the other",
        f"{PROD}: [urls] free_stream: is the address of paid_stream too: what is signed for one is good for the other",
    ]


def test_an_address_is_judged_where_it_stands_and_told_once() -> None:
    assert lines(on_aws(urls={"paid_stream": "https://fn.example/"})) == [
        f"{PROD}: [urls] paid_stream: must be a base URL: https://, a host, no slash at its end"
    ]
    blank = "<the address of the load balancer>"
    assert lines(on_aws(urls={"events": blank})) == [
        f"{PROD}: [urls] events: is still to be filled in: {blank}"
    ]


def test_one_secret_under_two_names_is_refused() -> None:
    (problem,) = lines(on_aws(secrets={"GLM_API_KEY": "sluice/prod/DEEPSEEK_API_KEY"}))
    assert problem == (
        f"{PROD}: [secrets] GLM_API_KEY: is the name of DEEPSEEK_API_KEY too: "
        "who may read one could read the other"
    )


# --- values


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        # nothing of development in a real environment
        (aws_with(QSTASH_URL="http://127.0.0.1:8080"), '[variables] QSTASH_URL: is an address of this machine, but sluice_env is "prod"'),
        (aws_with(QSTASH_URL="https://localhost"), "[variables] QSTASH_URL: is an address of this machine"),
        (aws_with(GLM_BASE_URL="http://glm.example/v4"), "[variables] GLM_BASE_URL: is not encrypted (http://)"),
        (aws_with(ALLOWED_ORIGINS="https://app.example, http://app.example"), "[variables] ALLOWED_ORIGINS: is not encrypted (http://)"),
        (aws_with(BLOB_URL="file:///srv/images"), "[variables] BLOB_URL: is a folder of one machine"),
        (aws_with(BLOB_URL="gs://images"), "[variables] BLOB_URL: must be s3://, which the functions' roles reach"),
        (on_aws(urls={"events": "http://events.example"}), "[urls] events: is not encrypted (http://)"),
        (on_aws(services=Services(module="devstack.services")), '[services]: is for development, but sluice_env is "prod"'),
        (aws_with(AUTH_ISSUER=min(PUBLIC_DEV_KEYS)), "[variables] AUTH_ISSUER: holds QStash's public development key"),
        (on_aws(sluice_env=Env.DEV), 'sluice_env: is "dev", which takes public keys; on aws it must be "staging" or "prod"'),
        (on_aws(protected=False), "protected: must be true for production"),
        (on_aws(emulated=True), 'emulated: needs provider = "aws" or "gcp", and sluice_env = "dev"'),
        (on_aws(provider=Platform.LOCAL, aws=None), 'sluice_env: is "prod", but this machine runs only "dev"'),
        # what is no variable here
        (aws_with(SLUICE_ENV="prod"), "[variables] SLUICE_ENV: is what sluice_env says"),
        (aws_with(ROUTE_URL="https://a.example"), "[variables] ROUTE_URL: is an address: those known beforehand stand in [urls]"),
        (aws_with(EVENTS_URL="https://a.example"), "[variables] EVENTS_URL: is an address"),
        (aws_with(QSTASH_TOKEN="x"), "[variables] QSTASH_TOKEN: is a secret: its value belongs into the store, as sluice/prod/QSTASH_TOKEN"),
        (aws_with(AUTH_ISSUER="${url:action}"), "[variables] AUTH_ISSUER: refers to the address of action, which is no function; did you mean actions?"),
        (aws_with(LEASE_SECOND="3"), "[variables] LEASE_SECOND: is a variable that no function takes; did you mean LEASE_SECONDS?"),
        # what would keep a function from starting
        (aws_with(LEASE_SECONDS="soon"), "[variables] LEASE_SECONDS: must be a number above 0"),
        (aws_with(QUEUE_MAX_SIZE="0"), "[variables] QUEUE_MAX_SIZE: must be a whole number from 1"),
        (on_aws(variables={"BLOB_URL": "s3://b", "ALLOWED_ORIGINS": "https://a.example"}), "[variables] QSTASH_URL: is missing (actions)"),
        (on_aws(variables={"QSTASH_URL": "https://q.example"}), "[variables] BLOB_URL: is missing (free_batch, paid_vision, actions)"),
        (aws_with(MODEL_SLOTS='{"gpt:paid": 1}'), "[variables] MODEL_SLOTS: names 'gpt:paid', which is no pair"),
        (aws_with(QSTASH_URL="https://qstash.example/"), "[variables] QSTASH_URL: must be a base URL"),
        # names of secrets
        (on_aws(secrets={"REDIS_URI": "a/b"}), "[secrets] REDIS_URI: is a secret that no function takes; did you mean REDIS_URL?"),
        (on_aws(secrets={"REDIS_URL": "a b"}), "[secrets] REDIS_URL: is no name on aws"),
        (on_aws(secrets={"REDIS_URL": "redis-abcdef"}), "[secrets] REDIS_URL: must not end with a dash and six characters"),
        (on_aws(secrets={"UPSTASH_REDIS_REST_URL": "a/b"}), '[secrets] UPSTASH_REDIS_REST_URL: is not needed: redis is "tcp"'),
        (on_aws(secrets={"AUTH_JWT_SECRET": "a/b"}, variables={**on_aws().variables, "AUTH_JWKS_URL": "https://l.example/k"}), "[secrets] AUTH_JWT_SECRET: and AUTH_JWKS_URL in [variables] are two ways to check users' tokens: choose one"),
        # addresses and functions
        (on_aws(urls={"paid_steam": "https://a.example"}), "[urls] paid_steam: is no function; did you mean paid_stream?"),
        (on_aws(urls={"events": "https://a.example/"}), "[urls] events: must be a base URL"),
        (on_aws(urls={"events": "https://[a"}), "[urls] events: must be a base URL"),
        (on_aws(functions=differing("event", memory_mb=256)), "[functions.event]: is no function; did you mean events?"),
    ],
)  # fmt: skip
def test_what_an_environment_says_wrongly_is_refused(environment: Environment, said: str) -> None:
    problems = lines(environment)
    assert any(line.startswith(f"{PROD}: {said}") for line in problems), problems


@pytest.mark.parametrize(
    "secret",
    [
        *SECRETS_IN_FULL,
        "0123456789abcdef" * 2 + ".0123456789abcdef",
        "https://me:hunter2@glm.example",
        "a1" * 20,
    ],
)
@pytest.mark.parametrize("place", ["variables", "secrets", "urls"])
def test_a_value_that_looks_like_a_secret_is_refused_and_not_repeated(secret: str, place: str) -> None:
    if place == "variables":
        environment, said = aws_with(GLM_BASE_URL=secret), "[variables] GLM_BASE_URL"
    elif place == "secrets":
        environment, said = on_aws(secrets={"GLM_API_KEY": secret}), "[secrets] GLM_API_KEY"
    else:
        environment, said = on_aws(urls={"events": secret}), "[urls] events"
    problems = lines(environment)
    opaque = secret.startswith("a1")  # the name of a secret may look like anything
    if place == "variables" or not opaque:
        assert f"{PROD}: {said}: looks like a secret; secrets live in the store, never in a file" in problems
    assert not [line for line in problems if secret in line or "hunter2" in line]


def test_what_services_give_is_no_variable_of_the_file_and_must_be_one_of_the_functions() -> None:
    services = Services(module="devstack.services", variables=("QSTASH_URL", "GLM_URL", "QSTASH_TOKEN"))
    environment = load_environment("dev").model_copy(
        update={"services": services, "variables": {"QSTASH_URL": "http://127.0.0.1:1"}}
    )
    file = "infra/environments/dev.toml"
    problems = lines(environment)
    assert (
        f"{file}: [variables] QSTASH_URL: is given by the services already: take it from one of the two"
        in problems
    )
    assert any(
        line.startswith(f"{file}: [services] variables: GLM_URL is a variable that no") for line in problems
    )
    assert any(
        line.startswith(f"{file}: [services] variables: QSTASH_TOKEN is a secret") for line in problems
    )


def test_an_imitation_has_the_imitation_s_account() -> None:
    emulated = load_environment("emulated-aws")
    assert emulated.aws is not None
    other = emulated.model_copy(update={"aws": emulated.aws.model_copy(update={"account": "999999999999"})})
    (problem,) = lines(other)
    assert problem.endswith("[aws] account: must be 123456789012 where the account is an imitation")


def test_an_imitation_has_the_imitation_s_project() -> None:
    emulated = load_environment("emulated-gcp")
    assert emulated.gcp is not None
    other = emulated.model_copy(update={"gcp": emulated.gcp.model_copy(update={"project": "my-project"})})
    (problem,) = lines(other)
    assert problem.endswith("[gcp] project: must be sluice-emulated where the project is an imitation")


# --- limits


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (on_aws(functions=differing("events", timeout_seconds=901)), "[functions.events] timeout_seconds: is 901: Lambda allows 900 at most"),
        (on_aws(functions=differing("events", memory_mb=10241)), "[functions.events] memory_mb: is 10241: Lambda allows 128 to 10240"),
        (on_aws(functions=differing("events", memory_mb=127)), "[functions.events] memory_mb: is 127: Lambda allows 128 to 10240"),
        (on_aws(functions=differing("events", log_retention_days=31)), "[functions.events] log_retention_days: is 31: CloudWatch Logs takes [1, 3,"),
        (on_aws(functions=differing("paid_stream", reserved_concurrency=11)), "[functions.paid_stream] reserved_concurrency: is 11, but paid_stream has 10 slots, and 2 requests more must find a place"),
        (on_aws(functions=differing("free_batch", concurrency=5)), "[functions.free_batch] concurrency: is 5, but free_batch has 4 slots"),
        (on_aws(functions=differing("paid_stream", timeout_seconds=314)), "[functions.paid_stream] timeout_seconds: is 314, but must exceed WORKER_TIMEOUT_SECONDS = 300 by at least 15"),
        (on_aws(functions=differing("events", timeout_seconds=850)), "[functions.events] timeout_seconds: is 850, but must exceed MAX_CONNECTION_SECONDS = 840 by at least 15"),
        (on_aws(functions=differing("events", min_instances=11)), "[functions.events] min_instances: is 11, above max_instances = 10"),
        (aws_at(account_concurrency=400), "[aws] account_concurrency: is 400, of which Lambda keeps 100 unreserved: the functions' reserved_concurrency adds up to 308, above 300"),
        (aws_at(account="12345"), "[aws] account: must be twelve digits"),
        (aws_at(bucket="Sluice"), "[aws] bucket: is no name of a bucket"),
        (aws_at(region="europe"), "[aws] region: is no region"),
        (aws_at(adapter_layer="arn:aws:lambda:eu-central-1:1:layer:Other:1"), "[aws] adapter_layer: is no ARN of LambdaAdapterLayerX86"),
        (aws_at(adapter_layer=LAYER.removesuffix(":27")), "[aws] adapter_layer: is no ARN"),
        (aws_at(region="us-east-1"), "[aws] adapter_layer: is in eu-central-1, but the functions are in us-east-1"),
        (on_aws(target=Target(python="3.13", architecture="arm64")), "[aws] adapter_layer: is for X86, but bundles are for Arm64"),
        (on_aws(name="production-of-the-company-and-all-of-its-daughters-x"), "makes names of 71 characters, sluice-production-of-the-company-and-all-of-its-daughters-x-paid-stream: Lambda allows 64"),
    ],
)  # fmt: skip
def test_what_lambda_does_not_allow_or_functions_cannot_work_with_is_refused(
    environment: Environment, said: str
) -> None:
    problems = lines(environment)
    assert any(line.startswith(f"{PROD}: {said}") for line in problems), problems


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (on_gcp(functions=differing("events", timeout_seconds=3601)), "[functions.events] timeout_seconds: is 3601: Cloud Run allows 3600 at most"),
        (on_gcp(functions=differing("events", concurrency=1001)), "[functions.events] concurrency: is 1001: Cloud Run allows 1000 at most"),
        (on_gcp(functions=differing("events", memory_mb=256)), "[functions.events] memory_mb: is 256: Cloud Run allows 512 to 32768"),
        (on_gcp(name="staging-in-all-europe"), "makes service accounts of 33 characters, staging-in-all-europe-paid-stream: Google allows 30"),
        (on_gcp(name="staging-of-all-of-europe"), "makes addresses with 66 characters before the first dot, c-00000000---sluice-staging-of-all-of-europe-paid-stream-123456789"),
        (on_gcp(gcp=on_gcp().gcp.model_copy(update={"project": "x"})), "[gcp] project: is no project id"),  # type: ignore[union-attr]
        (on_gcp(gcp=on_gcp().gcp.model_copy(update={"project_number": "x"})), "[gcp] project_number: must be digits"),  # type: ignore[union-attr]
        (on_gcp(target=Target(python="3.13", architecture="arm64")), "[target] architecture: must be x86_64"),
        (on_gcp(secrets={"REDIS_URL": "sluice/redis"}), "[secrets] REDIS_URL: is no name on gcp"),
        (on_gcp(variables={**on_gcp().variables, "BLOB_URL": "s3://images"}), "[variables] BLOB_URL: must be gs://"),
    ],
)  # fmt: skip
def test_what_cloud_run_does_not_allow_is_refused(environment: Environment, said: str) -> None:
    problems = lines(environment)
    assert any(line.startswith(f"{STAGING}: {said}") for line in problems), problems


def test_limits_follow_the_variables_that_functions_will_read() -> None:
    more = lines(
        aws_with(DEEPSEEK_MAX_WORKERS="8", WORKER_TIMEOUT_SECONDS="600", MAX_CONNECTION_SECONDS="890")
    )
    for function in ("paid_stream", "paid_batch"):
        assert any(
            f"[functions.{function}] reserved_concurrency: is 16, but {function} has 16 slots" in line
            for line in more
        )
    assert sum("must exceed WORKER_TIMEOUT_SECONDS = 600" in line for line in more) == len(Lane)
    assert any(
        "[functions.events] timeout_seconds: is 900, but must exceed MAX_CONNECTION_SECONDS = 890" in line
        for line in more
    )


def test_what_only_lambda_bounds_is_judged_on_lambda_alone() -> None:
    assert (
        lines(on_gcp(functions=differing("paid_stream", reserved_concurrency=1, log_retention_days=31))) == []
    )


def test_variables_beyond_what_lambda_holds_are_refused() -> None:
    origins = ",".join(f"https://{number:03}.example" for number in range(100))
    (problem,) = lines(aws_with(ALLOWED_ORIGINS=origins))
    said = r"\[functions\.actions\] uses: gets about 4\d\d\d bytes of variables: Lambda takes 4096"
    assert re.fullmatch(f"{FUNCTIONS}: {said}", problem)


def test_a_value_is_named_in_the_file_in_which_it_stands() -> None:
    in_catalogue = lines(on_aws(), catalogue_with("events", memory_mb=64))
    assert in_catalogue == [f"{FUNCTIONS}: [functions.events] memory_mb: is 64: Lambda allows 128 to 10240"]
    in_environment = lines(on_aws(functions=differing("events", memory_mb=64)))
    assert in_environment == [f"{PROD}: [functions.events] memory_mb: is 64: Lambda allows 128 to 10240"]


# --- all of it


def test_all_problems_are_told_at_once_and_each_once() -> None:
    environment = aws_with(LEASE_SECONDS="soon", LEASE="1", QSTASH_URL="http://127.0.0.1:1")
    problems = lines(environment, with_secret("events", "QSTASH_TOKEN"))
    assert len(problems) == len(set(problems)) == 4
    with pytest.raises(FilesRefused) as refused:
        refuse_problems(with_secret("events", "QSTASH_TOKEN"), environment)
    assert str(refused.value).splitlines() == problems
    assert [str(problem) for problem in refused.value.problems] == problems


def test_a_blank_is_named_once_and_not_for_what_it_is_not() -> None:
    environment = aws_with(QSTASH_URL="<QStash's address>", BLOB_URL="s3://<bucket>/prod")
    assert lines(environment) == [
        f"{PROD}: [variables] QSTASH_URL: is still to be filled in: <QStash's address>",
        f"{PROD}: [variables] BLOB_URL: is still to be filled in: <bucket>",
    ]


def test_a_function_s_true_values_can_be_judged_by_the_same_loader() -> None:
    spec = CATALOGUE["events"]
    values = {"SLUICE_ENV": "prod", "REDIS_URL": "rediss://redis.example", "STREAM_TOKEN_SECRET": "hunter2"}
    assert start_problems(spec, values) == [("STREAM_TOKEN_SECRET", "is too short: at least 32 bytes")]
    assert start_problems(spec, values | {"STREAM_TOKEN_SECRET": "s" * 32}) == []


@pytest.mark.parametrize("environment", [on_aws(), on_gcp()])
def test_every_policy_that_would_be_written_is_given_to_the_linter(environment: Environment) -> None:
    under_another_s_name = catalogue_with("paid_vision", name="actions")  # only the linter looks at the name
    problems = lines(environment, under_another_s_name)
    assert any(
        "[functions.paid_vision] uses: leads to a policy that is refused: " in line for line in problems
    )
