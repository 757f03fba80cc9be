"""`infra/environments/*.toml`: what an environment says, who gets what of it, and what a wrong file is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployment.catalogue import load_catalogue
from deployment.environments import (
    ENVIRONMENTS_FOLDER,
    Environment,
    EnvironmentRefused,
    LocalPlace,
    Platform,
    Target,
    load_environment,
)
from deployment.errors import Refused
from deployment.names import function_name, log_group, secret_name, service_account
from shared.routing import Lane
from shared.settings import Env
from tests.unit.deployment.environment_kit import on_aws

CATALOGUE = load_catalogue()
AWS = """\
provider = "aws"
sluice_env = "prod"

[aws]
account = "123456789012"
region = "eu-central-1"
bucket = "sluice-artefacts"
adapter_layer = "arn:aws:lambda:eu-central-1:753240598075:layer:LambdaAdapterLayerX86:27"

[target]
python = "3.13"
architecture = "x86_64"
"""
Read = Callable[[str], Environment]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return the environment `lamp` that a file of this text declares."""

    def load(text: str) -> Environment:
        (tmp_path / "lamp.toml").write_text(text)
        return load_environment("lamp", tmp_path)

    return load


def refusal(read: Read, text: str) -> list[str]:
    with pytest.raises(EnvironmentRefused) as refused:
        read(text)
    return [line[line.index("lamp.toml") :] for line in str(refused.value).splitlines()]


@pytest.mark.parametrize("file", sorted(ENVIRONMENTS_FOLDER.glob("*.toml")), ids=lambda file: str(file.stem))
def test_every_environment_of_the_repository_is_well_formed(file: Path) -> None:
    assert load_environment(file.stem).file == f"infra/environments/{file.name}"


def test_there_is_one_for_development_one_for_each_cloud_and_one_for_the_emulation() -> None:
    environments = {
        name: load_environment(name) for name in ("dev", "staging", "prod", "emulated-aws", "emulated-gcp")
    }
    assert {name: each.provider for name, each in environments.items()} == {
        "dev": Platform.LOCAL,
        "staging": Platform.GCP,
        "prod": Platform.AWS,
        "emulated-aws": Platform.AWS,
        "emulated-gcp": Platform.GCP,
    }
    assert {name for name, each in environments.items() if each.protected} == {"prod"}
    assert {name for name, each in environments.items() if each.emulated} == {"emulated-aws", "emulated-gcp"}


def test_an_environment_can_be_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "lamp.toml").write_text('provider = "local"\nsluice_env = "dev"\n')
    environment = load_environment(str(tmp_path / "lamp.toml"))
    assert (environment.name, environment.place) == ("lamp", LocalPlace())
    assert environment.target == Target.here()


def test_one_that_is_not_there_is_told_which_there_are() -> None:
    with pytest.raises(
        Refused, match=r"no environment prd: did you mean prod\? \(there are dev, emulated-aws, emulated-gcp"
    ):
        load_environment("prd")
    with pytest.raises(
        Refused, match="no environment nonsense: there are dev, emulated-aws, emulated-gcp, prod, staging"
    ):
        load_environment("nonsense")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AWS.replace('"aws"', '"azure"'), "provider: must be 'local', 'aws' or 'gcp'"),
        (AWS.replace('"prod"', '"live"'), "sluice_env: must be 'dev', 'staging' or 'prod'"),
        (AWS.replace("account =", "acount ="), "[aws] acount: is no key of this table; did you mean account?"),
        (AWS.replace('"123456789012"', "123456789012"), "[aws] account: must be text"),
        ('provider = "aws"\nsluice_env = "prod"\n', '[aws]: is missing: provider is "aws"'),
        (AWS + '\n[gcp]\nproject = "p"\nproject_number = "1"\nregion = "r"\nbucket = "b"\n', '[gcp]: does not belong here: provider is "aws"'),
        (AWS.split("[target]", maxsplit=1)[0], "[target]: is missing: say for which python and architecture to package"),
        (AWS.replace('"x86_64"', '"sparc"'), "[target] architecture: must be 'x86_64' or 'arm64'"),
        (AWS + "\n[variables]\nMODEL_SLOTS = {}\n", "[variables] MODEL_SLOTS: must be text or a number"),
        (AWS + "\n[variables]\nTASK_RETRIES = true\n", "[variables] TASK_RETRIES: must be text or a number"),
        (AWS + "\n[functions.actions]\nmemory = 1\n", "[functions.actions] memory: is no key of this table; did you mean memory_mb?"),
        (AWS + "\n[functions.actions]\nmin_instances = -1\n", "[functions.actions] min_instances: must be at least 0, not -1"),
        (AWS + "\n[releases]\nkeep = 0\n", "[releases] keep: must be at least 1, not 0"),
        (AWS + "\n[canary]\npercents = [50, 10, 100]\n", "[canary] percents: must rise and end with 100"),
        (AWS + "\n[canary]\npercents = [10, 50]\n", "[canary] percents: must rise and end with 100"),
        (AWS + "\n[canary]\nwait_seconds = -1\n", "[canary] wait_seconds: must be at least 0"),
        ("provider =", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_file_table_and_key(read: Read, text: str, said: str) -> None:
    lines = refusal(read, text)
    assert any(line.startswith(f"lamp.toml: {said}") for line in lines), lines


def test_a_name_that_no_cloud_takes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Lamp_1.toml").write_text(AWS)
    with pytest.raises(EnvironmentRefused, match="a-z, 0-9 and dashes"):
        load_environment("Lamp_1", tmp_path)


def test_a_function_gets_the_variables_that_it_declares_and_no_other(read: Read) -> None:
    environment = read(AWS + '\n[variables]\nGLM_MAX_WORKERS = 3\nDEEPSEEK_BASE_URL = "https://d.example"\n')
    assert environment.variables_of(CATALOGUE["free_stream"]) == {
        "SLUICE_ENV": "prod",
        "ROUTE_URL": "${url:free_stream}",
        "GLM_MAX_WORKERS": "3",
    }
    assert "ROUTE_URL" not in environment.variables_of(CATALOGUE["events"])


def test_addresses_are_references_until_they_are_known(read: Read) -> None:
    environment = read(AWS + '\n[urls]\npaid_stream = "https://paid.example"\n')
    given = environment.variables_of(CATALOGUE["actions"])
    assert given["PAID_STREAM_URL"] == "https://paid.example"
    assert environment.variables_of(CATALOGUE["paid_stream"])["ROUTE_URL"] == "https://paid.example"
    assert {name: given[name] for name in ("ACTIONS_URL", "EVENTS_URL", "FREE_BATCH_URL")} == {
        "ACTIONS_URL": "${url:actions}",
        "EVENTS_URL": "${url:events}",
        "FREE_BATCH_URL": "${url:free_batch}",
    }


def test_what_services_know_is_there_once_it_was_supplied() -> None:
    before = load_environment("dev")
    after = before.supplied({"QSTASH_URL": "http://127.0.0.1:7000"})
    assert "QSTASH_URL" not in before.variables_of(CATALOGUE["actions"])
    assert after.variables_of(CATALOGUE["actions"])["QSTASH_URL"] == "http://127.0.0.1:7000"


def test_only_the_way_to_redis_that_is_configured_is_handed_over(read: Read) -> None:
    rest = {"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"}
    by_tcp, by_rest = read(f"telemetry = true\n{AWS}"), read(f'telemetry = true\nredis = "rest"\n{AWS}')
    for lane in Lane:
        assert set(by_tcp.secrets_of(CATALOGUE[lane])) == set(CATALOGUE[lane].secrets) - rest
        assert set(by_rest.secrets_of(CATALOGUE[lane])) == set(CATALOGUE[lane].secrets) - {"REDIS_URL"}
    assert set(by_rest.secrets_of(CATALOGUE["events"])) & (rest | {"REDIS_URL"}) == {"REDIS_URL"}


def test_traces_and_metrics_are_a_deployment_s_own_choice(read: Read) -> None:
    without, chosen = read(AWS), read(f"telemetry = true\n{AWS}")
    spec = CATALOGUE["actions"]
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in without.secrets_of(spec)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in chosen.secrets_of(spec)
    assert {each.extras for each in without.specs(CATALOGUE).values()} == {()}
    assert {each.extras for each in chosen.specs(CATALOGUE).values()} == {("telemetry",)}


def test_where_a_process_stands_still_between_requests_its_traces_are_sent_before_an_answer() -> None:
    spec = CATALOGUE["actions"]
    assert "TELEMETRY_SETTLE_MS" not in on_aws().variables_of(spec)
    assert on_aws(telemetry=True).variables_of(spec)["TELEMETRY_SETTLE_MS"] == "500"
    own = {**on_aws().variables, "TELEMETRY_SETTLE_MS": "90"}
    assert on_aws(telemetry=True, variables=own).variables_of(spec)["TELEMETRY_SETTLE_MS"] == "90"


def test_no_secret_for_user_tokens_is_handed_over_where_their_issuer_publishes_its_keys(read: Read) -> None:
    environment = read(AWS + '\n[variables]\nAUTH_JWKS_URL = "https://login.example/keys"\n')
    assert "AUTH_JWT_SECRET" in read(AWS).secrets_of(CATALOGUE["actions"])
    assert not [name for name in environment.secrets_of(CATALOGUE["actions"]) if name.startswith("AUTH_")]
    unset = read(AWS + '\n[variables]\nAUTH_JWKS_URL = ""\n')
    assert "AUTH_JWT_SECRET" in unset.secrets_of(CATALOGUE["actions"])


def test_what_differs_for_a_function_here_replaces_the_catalogue_s(read: Read) -> None:
    specs = read(AWS + "\n[functions.actions]\nmemory_mb = 2048\nmin_instances = 0\n").specs(CATALOGUE)
    assert (specs["actions"].memory_mb, specs["actions"].min_instances) == (2048, 0)
    assert specs["actions"].timeout_seconds == CATALOGUE["actions"].timeout_seconds
    assert specs["events"] == CATALOGUE["events"]


def test_secrets_are_named_by_convention_unless_the_file_names_them(read: Read) -> None:
    environment = read(AWS + '\n[secrets]\nREDIS_URL = "shared/redis"\n')
    assert secret_name(environment, "REDIS_URL") == "shared/redis"
    assert secret_name(environment, "QSTASH_TOKEN") == "sluice/lamp/QSTASH_TOKEN"
    assert secret_name(load_environment("staging"), "QSTASH_TOKEN") == "sluice-staging-qstash-token"
    assert secret_name(load_environment("dev"), "QSTASH_TOKEN") == "QSTASH_TOKEN"


def test_whatever_is_made_is_named_after_environment_and_function(read: Read) -> None:
    environment = read(AWS)
    assert function_name(environment, "paid_stream") == "sluice-lamp-paid-stream"
    assert log_group(environment, "paid_stream") == "/aws/lambda/sluice-lamp-paid-stream"
    staging = load_environment("staging")
    assert service_account(staging, "events").startswith("sluice-staging-events@")


def test_no_environment_is_without_a_kind(read: Read) -> None:
    assert "lamp.toml: sluice_env: is missing" in refusal(read, AWS.replace('sluice_env = "prod"\n', ""))
    assert read(AWS).sluice_env is Env.PROD
