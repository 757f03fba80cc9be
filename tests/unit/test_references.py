"""`SLUICE_SECRETS`: what may be fetched, from where, and that nothing malformed is taken for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.retries.standard import ThrottledRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from deployment.catalogue import load_catalogue
from shared.config import load_references
from shared.errors import ConfigError
from shared.references import SECRET_VARIABLES, Reference, References
from shared.secrets_manager import THROTTLING

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice/prod/GLM_API_KEY-a1B2c3"
VERSION = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
ENVIRON = {
    "SLUICE_SECRETS": json.dumps({"GLM_API_KEY": {"id": ARN, "version": VERSION}}),
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "AWS_SESSION_TOKEN": "hunter2-token",
}


def load(**changed: str) -> References:
    references = load_references(ENVIRON | changed)
    assert references is not None
    return references


def problem(**changed: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_references(ENVIRON | changed)
    assert "hunter2" not in str(raised.value)
    return str(raised.value)


def test_references_name_a_secret_and_a_version_for_each_variable() -> None:
    assert load().by_variable == {"GLM_API_KEY": Reference(ARN, VERSION)}
    assert "hunter2" not in repr(load())


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_references_nothing_is_fetched_and_no_credentials_are_needed(value: str | None) -> None:
    assert load_references({} if value is None else {"SLUICE_SECRETS": value}) is None


def test_exactly_the_secrets_of_the_catalogue_may_be_fetched() -> None:
    declared = {secret for spec in load_catalogue().values() for secret in spec.secrets}
    assert declared == SECRET_VARIABLES


@pytest.mark.parametrize(
    "name", ["PATH", "PYTHONPATH", "LD_PRELOAD", "AWS_ACCESS_KEY_ID", "SLUICE_ENV", "glm_api_key", "A=B", ""]
)
def test_a_variable_that_is_no_secret_of_a_function_is_refused_and_named(name: str) -> None:
    secrets = json.dumps({name: {"id": ARN, "version": VERSION}})
    assert f"SLUICE_SECRETS names {name!r}" in problem(SLUICE_SECRETS=secrets)


@pytest.mark.parametrize("text", ["{", "[]", "null", "1", '"x"', "[" * 5000], ids=lambda text: text[:6])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert "SLUICE_SECRETS must be a JSON object" in problem(SLUICE_SECRETS=text)


ENTRIES: list[Any] = [
    "hunter2", None, [], {}, {"id": ARN}, {"version": VERSION}, {"id": "", "version": VERSION},
    {"id": ARN, "version": ""}, {"id": ARN, "version": 7}, {"id": "a b", "version": VERSION},
    {"id": "a\nb", "version": VERSION}, {"id": ARN, "version": VERSION, "value": "hunter2"},
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_an_entry_that_is_no_reference_is_refused_by_its_variable_and_never_shown(entry: Any) -> None:
    message = problem(SLUICE_SECRETS=json.dumps({"GLM_API_KEY": entry}))
    assert "SLUICE_SECRETS: GLM_API_KEY must have an id and a version" in message


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_what_is_missing_for_the_call_is_named(name: str) -> None:
    assert f"{name} is missing" in problem(**{name: ""})


def test_a_users_credentials_have_no_session_token_and_the_region_has_another_name_too() -> None:
    references = load(AWS_SESSION_TOKEN="", AWS_REGION="", AWS_DEFAULT_REGION="us-east-1")
    assert references.credentials.session_token is None
    assert references.region == "us-east-1"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("value", ["hunter2\r\nX: y", "hunter2 x", "hunter2é", "hunter2\x7f"], ids=repr)
def test_credentials_that_no_header_can_carry_are_refused_and_never_shown(name: str, value: str) -> None:
    assert f"{name} must be printable ASCII" in problem(**{name: value})


@pytest.mark.parametrize(
    "region", ["eu-central-1.evil.example/", "x", "eu-central", "EU-CENTRAL-1", "a@b-c-1"]
)
def test_what_is_no_region_is_refused_because_it_becomes_a_host(region: str) -> None:
    assert "AWS_REGION must be a region" in problem(AWS_REGION=region)


def regions() -> list[str]:
    session = botocore.session.get_session()
    partitions = ["aws", "aws-cn", "aws-us-gov", "aws-eusc"]
    return [name for each in partitions for name in session.get_available_regions("secretsmanager", each)]


def test_a_regions_own_address_is_the_one_that_botocore_knows() -> None:
    session = botocore.session.get_session()
    names = regions()
    assert {"us-east-1", "cn-north-1", "us-gov-west-1"} <= set(names)
    theirs = {
        name: session.create_client(
            "secretsmanager", name, aws_access_key_id="x", aws_secret_access_key="x"
        ).meta.endpoint_url
        for name in names
    }
    assert {name: load(AWS_REGION=name).endpoint_url for name in names} == theirs


def test_another_address_is_taken_the_services_own_before_the_general_one() -> None:
    general = {"AWS_ENDPOINT_URL": "https://aws.example:4566"}
    assert load(**general).endpoint_url == "https://aws.example:4566"
    own = general | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:5000"}
    assert load(**own).endpoint_url == "http://127.0.0.1:5000"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"])
@pytest.mark.parametrize(
    "url",
    [
        "http://aws.example", "http://127.0.0.1.evil.example:80", "http://127.0.0.1:80@evil.example",
        "https://aws.example/path", "https://aws.example/", "ftp://aws.example", "aws.example",
    ],
)  # fmt: skip
def test_an_address_at_which_secrets_would_travel_in_the_open_or_nowhere_is_refused(
    name: str, url: str
) -> None:
    assert f"{name} must be" in problem(**{name: url}) or f"{name} must have no path" in problem(
        **{name: url}
    )


@given(text=st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_no_references_raise_anything_but_a_config_error(text: str) -> None:
    try:
        load_references({**ENVIRON, "SLUICE_SECRETS": text})
    except ConfigError:
        return


def test_we_are_as_patient_as_botocore_with_those_who_were_too_fast() -> None:
    codes = ThrottledRetryableChecker._THROTTLED_ERROR_CODES  # type: ignore[attr-defined]  # not in the stubs
    assert set(codes) <= THROTTLING


class Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_documentation_names_exactly_what_is_read() -> None:
    environ = Recorder(ENVIRON)
    load_references(environ)
    environ.pop("AWS_REGION")
    with pytest.raises(ConfigError):
        load_references(environ)
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = page.split("## Secrets that a function fetches itself")[1].split("\n## ")[0]
    listed = [line for line in section.splitlines() if line.startswith("- ")]
    names = {name for line in listed for name in re.findall(r"`([A-Z_]+)`", line)}
    assert names == environ.asked
