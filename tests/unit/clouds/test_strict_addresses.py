"""Aliases, URLs, permissions, capacity, lists, secrets, logs: what moto does alone, then what the rule makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devstack.clouds.aws.in_process import InProcess
from devstack.clouds.aws.strict.rules.secrets import Unfaithful
from tests.unit.clouds.aws_kit import NAME, make_function, package, refused, settle


@pytest.fixture
def two(strict: Any) -> Any:
    """A client of a function with versions 1 and 2 and an alias `live` that leads to 1."""
    strict.publish_version(FunctionName=NAME)
    strict.update_function_code(FunctionName=NAME, ZipFile=package("two"))
    settle(strict)
    strict.publish_version(FunctionName=NAME)
    strict.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
    return strict


def test_an_alias_has_a_revision_that_changes_and_guards(two: Any, plain: Any) -> None:
    first = two.get_alias(FunctionName=NAME, Name="live")["RevisionId"]
    moved = two.update_alias(FunctionName=NAME, Name="live", FunctionVersion="2", RevisionId=first)
    assert moved["RevisionId"] not in {first, ""}
    refused(
        "PreconditionFailedException",
        two.update_alias,
        FunctionName=NAME,
        Name="live",
        FunctionVersion="1",
        RevisionId=first,
    )
    listed = two.list_aliases(FunctionName=NAME)["Aliases"][0]
    assert (listed["RevisionId"], listed["FunctionVersion"]) == (moved["RevisionId"], "2")
    before = plain.get_alias(FunctionName=NAME, Name="live")["RevisionId"]
    after = plain.update_alias(FunctionName=NAME, Name="live", FunctionVersion="1", RevisionId="stale")
    assert after["RevisionId"] == before


def test_a_second_alias_of_a_name_is_a_resource_conflict(two: Any, plain: Any) -> None:
    again = {"FunctionName": NAME, "Name": "live", "FunctionVersion": "1"}
    refused("ResourceConflictException", two.create_alias, **again)
    refused("ConflictException", plain.create_alias, **again)


@pytest.mark.parametrize(
    ("code", "version", "weights"),
    [
        ("ValidationException", "1", {"2": 1.5}),
        ("ResourceNotFoundException", "1", {"9": 0.5}),
        ("InvalidParameterValueException", "1", {"$LATEST": 0.5}),
        ("InvalidParameterValueException", "$LATEST", {"1": 0.5}),
        ("InvalidParameterValueException", "1", {"1": 0.5}),
        ("InvalidParameterValueException", "1", {"1": 0.2, "2": 0.2}),
    ],
)
def test_weights_are_checked(
    two: Any, plain: Any, code: str, version: str, weights: dict[str, float]
) -> None:
    wanted = {
        "FunctionName": NAME,
        "Name": "live",
        "FunctionVersion": version,
        "RoutingConfig": {"AdditionalVersionWeights": weights},
    }
    refused(code, two.update_alias, **wanted)
    plain.update_alias(**wanted)


def test_valid_weights_are_kept_until_they_are_cleared(two: Any) -> None:
    where = {"FunctionName": NAME, "Name": "live"}
    two.update_alias(**where, RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})
    two.update_alias(**where, Description="kept")
    assert two.get_alias(**where)["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    two.update_alias(**where, RoutingConfig={"AdditionalVersionWeights": {}})
    assert not two.get_alias(**where).get("RoutingConfig")


def test_an_alias_leads_to_a_version_that_is_there_and_is_no_number(two: Any) -> None:
    refused("ResourceNotFoundException", two.create_alias, FunctionName=NAME, Name="x", FunctionVersion="7")
    refused(
        "ResourceNotFoundException", two.update_alias, FunctionName=NAME, Name="live", FunctionVersion="7"
    )
    refused("ResourceNotFoundException", two.update_alias, FunctionName=NAME, Name="x", FunctionVersion="1")
    refused("ValidationException", two.create_alias, FunctionName=NAME, Name="12", FunctionVersion="1")


def test_aliases_are_listed_by_version(two: Any, plain: Any) -> None:
    two.create_alias(FunctionName=NAME, Name="candidate", FunctionVersion="2")
    asked = {"FunctionName": NAME, "FunctionVersion": "2"}
    assert [each["Name"] for each in two.list_aliases(**asked)["Aliases"]] == ["candidate"]
    assert len(plain.list_aliases(**asked)["Aliases"]) == 2


def test_what_is_asked_for_by_an_alias_says_so(two: Any, plain: Any) -> None:
    asked = {"FunctionName": NAME, "Qualifier": "live"}
    found = two.get_function_configuration(**asked)
    assert (found["FunctionArn"].rsplit(":", 1)[1], found["Version"]) == ("live", "1")
    assert plain.get_function_configuration(**asked)["FunctionArn"].endswith(":1")


def test_each_alias_has_a_url_of_its_own(two: Any, plain: Any) -> None:
    two.create_alias(FunctionName=NAME, Name="candidate", FunctionVersion="2")
    urls = {}
    for alias in ("live", "candidate"):
        made = two.create_function_url_config(
            FunctionName=NAME, Qualifier=alias, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
        )
        urls[alias] = made["FunctionUrl"]
        assert made["FunctionUrl"].endswith(".lambda-url.eu-central-1.on.aws/")
        assert made["FunctionArn"].endswith(f":{NAME}:{alias}")
    assert len(set(urls.values())) == 2
    for alias, url in urls.items():
        found = two.get_function_url_config(FunctionName=NAME, Qualifier=alias)
        assert (found["FunctionUrl"], found["InvokeMode"]) == (url, "RESPONSE_STREAM")
    listed = two.list_function_url_configs(FunctionName=NAME)["FunctionUrlConfigs"]
    assert {each["FunctionUrl"] for each in listed} == set(urls.values())

    moto = [
        plain.create_function_url_config(FunctionName=NAME, Qualifier=alias, AuthType="NONE")
        for alias in ("live", "absent")
    ]
    found = plain.get_function_url_config(FunctionName=NAME, Qualifier="live")
    assert found["FunctionUrl"] == moto[1]["FunctionUrl"]  # the second replaced the first
    assert not found["FunctionUrl"].endswith("/")


def test_a_url_is_made_once_and_only_for_an_alias_that_is_there(two: Any, plain: Any) -> None:
    asked = {"FunctionName": NAME, "Qualifier": "live", "AuthType": "NONE"}
    two.create_function_url_config(**asked)
    refused("ResourceConflictException", two.create_function_url_config, **asked)
    refused("ResourceNotFoundException", two.create_function_url_config, **(asked | {"Qualifier": "absent"}))
    refused("ValidationException", two.create_function_url_config, **(asked | {"Qualifier": "1"}))
    refused("ResourceNotFoundException", two.get_function_url_config, FunctionName=NAME)
    for _ in range(2):
        plain.create_function_url_config(**asked)


def test_an_update_changes_the_invoke_mode_and_keeps_the_url(two: Any, plain: Any) -> None:
    asked = {"FunctionName": NAME, "Qualifier": "live"}
    made = two.create_function_url_config(**asked, AuthType="NONE")
    assert made["InvokeMode"] == "BUFFERED"
    two.update_function_url_config(**asked, InvokeMode="RESPONSE_STREAM")
    two.update_function_url_config(**asked, AuthType="AWS_IAM")
    found = two.get_function_url_config(**asked)
    assert (found["FunctionUrl"], found["InvokeMode"], found["AuthType"]) == (
        made["FunctionUrl"],
        "RESPONSE_STREAM",
        "AWS_IAM",
    )
    plain.create_function_url_config(**asked, AuthType="NONE")
    plain.update_function_url_config(**asked, InvokeMode="RESPONSE_STREAM")
    assert plain.get_function_url_config(**asked)["InvokeMode"] != "RESPONSE_STREAM"


def test_a_deleted_url_never_comes_back(two: Any) -> None:
    asked = {"FunctionName": NAME, "Qualifier": "live"}
    first = two.create_function_url_config(**asked, AuthType="NONE")["FunctionUrl"]
    two.delete_function_url_config(**asked)
    refused("ResourceNotFoundException", two.delete_function_url_config, **asked)
    refused("ResourceNotFoundException", two.update_function_url_config, **asked)
    assert two.create_function_url_config(**asked, AuthType="NONE")["FunctionUrl"] != first
    two.delete_alias(FunctionName=NAME, Name="live")
    assert two.list_function_url_configs(FunctionName=NAME)["FunctionUrlConfigs"] == []


def public(client: Any, alias: str, sid: str = "url", **changes: Any) -> Any:
    asked = {
        "FunctionName": NAME,
        "Qualifier": alias,
        "StatementId": sid,
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    }
    return client.add_permission(**(asked | changes))


def statements(client: Any, alias: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(client.get_policy(FunctionName=NAME, Qualifier=alias)["Policy"])[
        "Statement"
    ]
    return found


def test_a_permission_belongs_to_its_alias(two: Any, plain: Any) -> None:
    two.create_alias(FunctionName=NAME, Name="candidate", FunctionVersion="2")
    public(two, "live")
    refused("ResourceNotFoundException", two.get_policy, FunctionName=NAME, Qualifier="candidate")
    public(two, "candidate")
    assert [each["Resource"].rsplit(":", 1)[1] for each in statements(two, "live")] == ["live"]
    refused("ResourceNotFoundException", public, client=two, alias="absent")
    refused("InvalidParameterValueException", public, client=two, alias="$LATEST")
    public(plain, "live")
    assert statements(plain, "candidate") == statements(plain, "live")


def test_the_conditions_of_a_public_url_are_conditions(two: Any, plain: Any) -> None:
    public(two, "live")
    two.add_permission(
        FunctionName=NAME,
        Qualifier="live",
        StatementId="invoke",
        Action="lambda:InvokeFunction",
        Principal="*",
        InvokedViaFunctionUrl=True,
    )
    url, invoke = statements(two, "live")
    assert url["Condition"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}
    assert invoke["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    assert url["Principal"] == "*"
    refused(
        "InvalidParameterValueException",
        public,
        client=two,
        alias="live",
        sid="x",
        Action="lambda:InvokeFunction",
    )
    public(plain, "live")
    assert "Condition" not in statements(plain, "live")[0]


def test_an_alias_that_is_made_again_has_neither_url_nor_policy(two: Any) -> None:
    where = {"FunctionName": NAME, "Qualifier": "live"}
    two.create_function_url_config(**where, AuthType="NONE")
    public(two, "live")
    two.delete_alias(FunctionName=NAME, Name="live")
    two.create_alias(FunctionName=NAME, Name="live", FunctionVersion="2")
    refused("ResourceNotFoundException", two.get_policy, **where)
    refused("ResourceNotFoundException", two.get_function_url_config, **where)


def test_a_statement_id_is_used_once_and_a_missing_one_cannot_be_removed(two: Any, plain: Any) -> None:
    public(two, "live")
    refused("ResourceConflictException", public, client=two, alias="live")
    where = {"FunctionName": NAME, "Qualifier": "live"}
    refused("ResourceNotFoundException", two.remove_permission, **where, StatementId="absent")
    two.remove_permission(**where, StatementId="url")
    refused("ResourceNotFoundException", two.get_policy, **where)
    for _ in range(2):
        public(plain, "live")


def test_a_policy_is_guarded_by_the_revision_of_its_alias(two: Any) -> None:
    alias = two.get_alias(FunctionName=NAME, Name="live")["RevisionId"]
    public(two, "live", RevisionId=alias)
    policy = two.get_policy(FunctionName=NAME, Qualifier="live")["RevisionId"]
    assert policy == two.get_alias(FunctionName=NAME, Name="live")["RevisionId"] != alias
    refused("PreconditionFailedException", public, client=two, alias="live", sid="second", RevisionId=alias)


def test_a_principal_is_written_as_what_it_is(two: Any) -> None:
    common = {"FunctionName": NAME, "Action": "lambda:InvokeFunction"}
    two.add_permission(**common, StatementId="a", Principal="s3.amazonaws.com", SourceAccount="123456789012")
    two.add_permission(**common, StatementId="b", Principal="123456789012")
    found = json.loads(two.get_policy(FunctionName=NAME)["Policy"])["Statement"]
    assert found[0]["Principal"] == {"Service": "s3.amazonaws.com"}
    assert found[0]["Condition"] == {"StringEquals": {"AWS:SourceAccount": "123456789012"}}
    assert found[1]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}


def test_a_function_that_was_stopped_says_so(strict: Any, plain: Any) -> None:
    assert "Concurrency" not in strict.get_function(FunctionName=NAME)
    strict.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
    assert strict.get_function(FunctionName=NAME)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    assert "Concurrency" not in plain.get_function(FunctionName=NAME)
    strict.delete_function_concurrency(FunctionName=NAME)
    assert "Concurrency" not in strict.get_function(FunctionName=NAME)


def test_not_all_of_the_accounts_concurrency_can_be_reserved(aws: InProcess, strict: Any, plain: Any) -> None:
    make_function(strict, old_role_of(aws), FunctionName="other")
    strict.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=500)
    too_much = {"FunctionName": NAME, "ReservedConcurrentExecutions": 401}
    refused("InvalidParameterValueException", strict.put_function_concurrency, **too_much)
    plain.put_function_concurrency(**too_much)
    strict.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=400)


def old_role_of(aws: InProcess) -> str:
    return str(aws.plain("iam").get_role(RoleName="role")["Role"]["Arn"])


def test_lists_come_in_pages(two: Any, plain: Any) -> None:
    first = two.list_versions_by_function(FunctionName=NAME, MaxItems=2)
    second = two.list_versions_by_function(FunctionName=NAME, MaxItems=2, Marker=first["NextMarker"])
    found = [each["Version"] for page in (first, second) for each in page["Versions"]]
    assert found == ["$LATEST", "1", "2"]
    assert "NextMarker" not in second
    pages = two.get_paginator("list_versions_by_function").paginate(
        FunctionName=NAME, PaginationConfig={"PageSize": 1}
    )
    assert [page["Versions"][0]["Version"] for page in pages] == found
    assert len(plain.list_versions_by_function(FunctionName=NAME, MaxItems=2)["Versions"]) == 3


def test_a_new_function_of_an_old_name_starts_with_nothing(aws: InProcess, two: Any) -> None:
    two.create_function_url_config(FunctionName=NAME, Qualifier="live", AuthType="NONE")
    public(two, "live")
    two.delete_function(FunctionName=NAME)
    refused("ResourceNotFoundException", two.list_function_url_configs, FunctionName=NAME)
    make_function(two, old_role_of(aws))
    settle(two)
    assert two.list_function_url_configs(FunctionName=NAME)["FunctionUrlConfigs"] == []
    refused("ResourceNotFoundException", two.get_alias, FunctionName=NAME, Name="live")


def test_a_second_function_of_a_name_is_a_conflict_and_changes_nothing(aws: InProcess, strict: Any) -> None:
    before = settle(strict)
    refused(
        "ResourceConflictException",
        make_function,
        client=strict,
        role=old_role_of(aws),
        Code={"ZipFile": package("two")},
    )
    after = settle(strict)
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])


def test_a_secret_is_asked_for_by_stage_since_moto_answers_the_old_value_without(aws: InProcess) -> None:
    strict, plain = aws.session.client("secretsmanager"), aws.plain("secretsmanager")
    old = strict.create_secret(Name="s", SecretString="old")["VersionId"]
    new = strict.put_secret_value(SecretId="s", SecretString="new", VersionStages=["AWSPENDING"])["VersionId"]
    strict.update_secret_version_stage(
        SecretId="s", VersionStage="AWSCURRENT", MoveToVersionId=new, RemoveFromVersionId=old
    )
    assert plain.get_secret_value(SecretId="s")["SecretString"] == "old"
    with pytest.raises(Unfaithful):
        strict.get_secret_value(SecretId="s")
    with pytest.raises(Unfaithful):
        strict.batch_get_secret_value(SecretIdList=["s"])
    assert strict.get_secret_value(SecretId="s", VersionStage="AWSCURRENT")["SecretString"] == "new"
    assert strict.get_secret_value(SecretId="s", VersionId=old)["SecretString"] == "old"


def test_a_log_is_kept_for_a_number_of_days_that_aws_knows(aws: InProcess) -> None:
    strict, plain = aws.session.client("logs"), aws.plain("logs")
    strict.create_log_group(logGroupName="g")
    refused("InvalidParameterException", strict.put_retention_policy, logGroupName="g", retentionInDays=31)
    plain.put_retention_policy(logGroupName="g", retentionInDays=31)
    strict.put_retention_policy(logGroupName="g", retentionInDays=30)
