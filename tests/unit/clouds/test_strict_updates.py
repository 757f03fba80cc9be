"""Code, configuration, versions: each test shows first what moto does alone, then what the rule makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from devstack.clouds.aws.in_process import InProcess, in_process
from devstack.clouds.aws.strict.calls import Timing
from tests.unit.clouds.aws_kit import (
    NAME,
    make_function,
    make_role,
    old_role,
    package,
    ready_function,
    refused,
    settle,
)

LWA = "arn:aws:lambda:eu-central-1:753240598075:layer:LambdaAdapterLayerX86:27"


def sha(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_a_stale_revision_id_is_refused(aws: InProcess, plain: Any) -> None:
    role = old_role(aws)
    make_function(plain, role, FunctionName="moto")
    assert "RevisionId" not in plain.get_function_configuration(FunctionName="moto")
    plain.update_function_configuration(FunctionName="moto", Timeout=9, RevisionId="stale")

    strict = aws.session.client("lambda")
    make_function(strict, role)
    first = settle(strict)["RevisionId"]
    strict.update_function_configuration(FunctionName=NAME, Timeout=9, RevisionId=first)
    settle(strict)
    for call, what in (
        (strict.update_function_configuration, {"Timeout": 10}),
        (strict.update_function_code, {"ZipFile": package("two")}),
        (strict.publish_version, {}),
    ):
        error = refused("PreconditionFailedException", call, FunctionName=NAME, RevisionId=first, **what)
        assert isinstance(error, strict.exceptions.PreconditionFailedException)
    assert strict.get_function_configuration(FunctionName=NAME)["Timeout"] == 9


def test_the_revision_id_of_an_update_is_stale_once_it_has_settled(strict: Any) -> None:
    told = strict.update_function_configuration(FunctionName=NAME, Timeout=9)["RevisionId"]
    assert settle(strict)["RevisionId"] != told
    refused("PreconditionFailedException", strict.publish_version, FunctionName=NAME, RevisionId=told)


def test_a_revision_id_stays_while_nothing_changes(strict: Any) -> None:
    first = strict.get_function_configuration(FunctionName=NAME)
    assert strict.get_function(FunctionName=NAME)["Configuration"]["RevisionId"] == first["RevisionId"]
    assert strict.list_functions()["Functions"][0]["RevisionId"] == first["RevisionId"]


def test_a_new_function_is_pending_and_a_waiter_really_polls(aws: InProcess, plain: Any) -> None:
    role = old_role(aws)
    assert make_function(plain, role, FunctionName="moto")["State"] == "Active"
    strict = aws.session.client("lambda")
    assert make_function(strict, role)["State"] == "Pending"
    aws.strict.recorder.clear()
    strict.get_waiter("function_active_v2").wait(FunctionName=NAME)
    assert len(aws.strict.recorder.calls) == aws.strict.timing.polls + 1
    make_function(strict, role, FunctionName="hasty")
    few: Any = {"MaxAttempts": 2, "Delay": 0}
    with pytest.raises(WaiterError):
        strict.get_waiter("function_active_v2").wait(FunctionName="hasty", WaiterConfig=few)


def test_an_update_in_progress_refuses_the_next_one(plain: Any, strict: Any) -> None:
    plain.update_function_configuration(FunctionName=NAME, Timeout=8)
    plain.update_function_code(FunctionName=NAME, ZipFile=package("moto"))  # moto: at once
    answer = strict.update_function_configuration(FunctionName=NAME, Timeout=9)
    assert answer["LastUpdateStatus"] == "InProgress"
    refused("ResourceConflictException", strict.publish_version, FunctionName=NAME)
    refused(
        "ResourceConflictException", strict.update_function_code, FunctionName=NAME, ZipFile=package("two")
    )
    settle(strict)
    strict.update_function_code(FunctionName=NAME, ZipFile=package("two"))


def test_whoever_only_tries_again_gets_through_in_the_end(strict: Any) -> None:
    strict.update_function_configuration(FunctionName=NAME, Timeout=9)
    refused("ResourceConflictException", strict.publish_version, FunctionName=NAME)
    refused("ResourceConflictException", strict.publish_version, FunctionName=NAME)
    assert strict.publish_version(FunctionName=NAME)["Version"] == "1"


def test_a_new_version_is_pending_for_a_while(strict: Any) -> None:
    assert strict.publish_version(FunctionName=NAME)["State"] == "Pending"
    strict.get_waiter("published_version_active").wait(FunctionName=NAME, Qualifier="1")
    found = strict.get_function_configuration(FunctionName=NAME, Qualifier="1")
    assert (found["State"], found["FunctionArn"][-2:]) == ("Active", ":1")


def test_unchanged_code_and_configuration_publish_no_new_version(plain: Any, strict: Any) -> None:
    def publish_same(client: Any) -> list[str]:
        said = []
        for _ in range(2):
            answer = client.update_function_code(FunctionName=NAME, ZipFile=package(), Publish=True)
            said.append(answer["Version"])
            settle(client)
        return said

    assert publish_same(strict) == ["1", "1"]
    assert publish_same(plain) == ["2", "3"]


def test_changed_and_changed_back_publishes_nothing(strict: Any) -> None:
    strict.publish_version(FunctionName=NAME)
    for text in ("two", "one"):
        strict.update_function_code(FunctionName=NAME, ZipFile=package(text))
        settle(strict)
    assert strict.publish_version(FunctionName=NAME)["Version"] == "1"


def test_the_last_version_deleted_makes_room_for_one_of_the_same(strict: Any) -> None:
    assert strict.publish_version(FunctionName=NAME)["Version"] == "1"
    strict.delete_function(FunctionName=NAME, Qualifier="1")
    assert strict.publish_version(FunctionName=NAME)["Version"] == "2"


def test_a_version_keeps_its_code_and_settings(strict: Any) -> None:
    strict.publish_version(FunctionName=NAME)
    strict.update_function_configuration(FunctionName=NAME, Environment={"Variables": {"KEY": "two"}})
    settle(strict)
    strict.update_function_code(
        FunctionName=NAME, ZipFile=package("two"), Architectures=["arm64"], Publish=True
    )
    one, two = (strict.get_function_configuration(FunctionName=NAME, Qualifier=v) for v in ("1", "2"))
    assert (one["CodeSha256"], two["CodeSha256"]) == (sha(package()), sha(package("two")))
    assert (one["Architectures"], two["Architectures"]) == (["x86_64"], ["arm64"])
    assert ("Environment" in one, two["Environment"]["Variables"]) == (False, {"KEY": "two"})
    assert one["ConfigSha256"] != two["ConfigSha256"]


def test_a_number_is_never_used_twice(plain: Any, strict: Any) -> None:
    def publish(client: Any, text: str) -> str:
        client.update_function_code(FunctionName=NAME, ZipFile=package(text))
        settle(client)
        return str(client.publish_version(FunctionName=NAME)["Version"])

    assert [publish(strict, text) for text in ("a", "b", "c")] == ["1", "2", "3"]
    strict.delete_function(FunctionName=NAME, Qualifier="2")
    assert publish(strict, "d") == "4"
    left = [each["Version"] for each in strict.list_versions_by_function(FunctionName=NAME)["Versions"]]
    assert left == ["$LATEST", "1", "3", "4"]
    refused("ResourceNotFoundException", strict.get_function, FunctionName=NAME, Qualifier="2")
    refused(
        "ResourceNotFoundException", strict.create_alias, FunctionName=NAME, Name="x", FunctionVersion="2"
    )
    refused("ResourceNotFoundException", strict.delete_function, FunctionName=NAME, Qualifier="2")
    plain.delete_function(FunctionName=NAME, Qualifier="1")
    assert publish(plain, "e") == "4"  # the second of that number


def test_a_version_that_an_alias_leads_to_is_not_deleted(plain: Any, strict: Any) -> None:
    for text in ("a", "b"):
        strict.update_function_code(FunctionName=NAME, ZipFile=package(text))
        settle(strict)
        strict.publish_version(FunctionName=NAME)
    strict.create_alias(
        FunctionName=NAME,
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {"1": 0.1}},
    )
    for version in ("1", "2"):
        refused("ResourceConflictException", strict.delete_function, FunctionName=NAME, Qualifier=version)
    refused("InvalidParameterValueException", strict.delete_function, FunctionName=NAME, Qualifier="$LATEST")
    plain.delete_function(FunctionName=NAME, Qualifier="2")  # moto: gone, and the alias leads nowhere


def test_a_version_is_published_only_of_the_code_that_was_named(plain: Any, strict: Any) -> None:
    named = {"FunctionName": NAME, "CodeSha256": sha(b"another")}
    refused("InvalidParameterValueException", strict.publish_version, **named)
    assert plain.publish_version(**named)["Version"] == "1"
    assert strict.publish_version(FunctionName=NAME, CodeSha256=sha(package()))["CodeSha256"] == sha(
        package()
    )


def test_a_dry_run_returns_the_new_digest_and_changes_nothing(plain: Any, strict: Any) -> None:
    before = strict.get_function_configuration(FunctionName=NAME)
    asked = {"FunctionName": NAME, "ZipFile": package("two"), "DryRun": True}
    assert strict.update_function_code(**asked)["CodeSha256"] == sha(package("two"))
    assert plain.update_function_code(**asked)["CodeSha256"] != sha(package("two"))
    after = strict.get_function_configuration(FunctionName=NAME)
    for answer in (before, after):
        del answer["ResponseMetadata"]
    assert after == before
    refused("InvalidParameterValueException", strict.update_function_code, **(asked | {"ZipFile": b"no zip"}))


def test_a_package_must_be_a_zip_that_is_there(aws: InProcess, plain: Any, strict: Any) -> None:
    s3 = aws.plain("s3")
    s3.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="packages", Key="text", Body=b"no zip")
    for wrong in (
        {"ZipFile": b"no zip"},
        {"S3Bucket": "packages", "S3Key": "text"},
        {"S3Bucket": "packages", "S3Key": "absent"},
        {"S3Bucket": "nowhere", "S3Key": "text"},
    ):
        refused("InvalidParameterValueException", strict.update_function_code, FunctionName=NAME, **wrong)
        if wrong.get("S3Bucket") != "nowhere":
            plain.update_function_code(FunctionName=NAME, **wrong)


def test_a_package_is_no_larger_than_lambda_takes(strict: Any) -> None:
    large = io.BytesIO()
    with (
        zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros", "w", force_zip64=True) as member,
    ):
        for _ in range(251):
            member.write(bytes(1024 * 1024))
    update = {"FunctionName": NAME, "ZipFile": large.getvalue()}
    refused("InvalidParameterValueException", strict.update_function_code, **update)
    direct = {"FunctionName": NAME, "ZipFile": bytes(50 * 1024 * 1024 + 1)}
    refused("RequestEntityTooLargeException", strict.update_function_code, **direct)


def test_the_version_of_the_object_is_honoured(aws: InProcess, plain: Any, strict: Any) -> None:
    s3 = aws.plain("s3")
    s3.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="packages", VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket="packages", Key="k", Body=package("old"))["VersionId"]
    s3.put_object(Bucket="packages", Key="k", Body=package("new"))
    where = {"FunctionName": NAME, "S3Bucket": "packages", "S3Key": "k", "S3ObjectVersion": old}
    assert strict.update_function_code(**where)["CodeSha256"] == sha(package("old"))
    assert plain.update_function_code(**where)["CodeSha256"] == sha(package("new"))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("ValidationException", {"Timeout": 901}),
        ("ValidationException", {"MemorySize": 10_241}),
        ("ValidationException", {"FunctionName": "x" * 65}),
        ("InvalidParameterValueException", {"Environment": {"Variables": {"AWS_REGION": "x"}}}),
        ("InvalidParameterValueException", {"Environment": {"Variables": {"KEY": "x" * 4096}}}),
        ("ValidationException", {"Environment": {"Variables": {"1KEY": "x"}}}),
        ("InvalidParameterValueException", {"Runtime": "python9.9"}),
        ("InvalidParameterValueException", {"Layers": [LWA] * 6}),
        ("InvalidParameterValueException", {"Layers": [LWA.replace("eu-central-1", "us-east-1")]}),
        ("InvalidParameterValueException", {"Layers": [LWA.replace("Adapter", "Unknown")]}),
    ],
)
def test_what_is_beyond_a_limit_is_refused(
    aws: InProcess, plain: Any, code: str, change: dict[str, Any]
) -> None:
    role = old_role(aws)
    strict = aws.session.client("lambda")
    refused(code, make_function, client=strict, role=role, **change)
    if "Layers" not in change:
        make_function(plain, role, **change)
        plain.delete_function(FunctionName=change.get("FunctionName", NAME))
    if "FunctionName" not in change:
        make_function(strict, role)
        settle(strict)
        refused(code, strict.update_function_configuration, FunctionName=NAME, **change)


def test_a_refusal_leaves_the_callers_own_arguments_alone(strict: Any) -> None:
    asked = {
        "FunctionName": "another",
        "Role": "arn:aws:iam::123456789012:role/absent",
        "Runtime": "python3.13",
    }
    code = {"ZipFile": package()}
    refused("InvalidParameterValueException", strict.create_function, **asked, Handler="run.sh", Code=code)
    assert code == {"ZipFile": package()}


def test_the_adapters_public_layer_is_there(aws: InProcess, plain: Any, strict: Any) -> None:
    refused("ResourceNotFoundException", plain.update_function_configuration, FunctionName=NAME, Layers=[LWA])
    answer = strict.update_function_configuration(FunctionName=NAME, Layers=[LWA])
    assert [each["Arn"] for each in answer["Layers"]] == [LWA]
    own = aws.plain("lambda").publish_layer_version(LayerName="own", Content={"ZipFile": package()})
    settle(strict)
    strict.update_function_configuration(FunctionName=NAME, Layers=[own["LayerVersionArn"]])
    assert settle(strict)["Layers"][0]["Arn"] == own["LayerVersionArn"]


def test_settings_that_moto_forgets_are_kept(plain: Any, strict: Any) -> None:
    settings: dict[str, Any] = {
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/sluice/staging/paid-stream"},
        "EphemeralStorage": {"Size": 1024},
        "TracingConfig": {"Mode": "Active"},
    }
    before = settle(strict)["ConfigSha256"]
    strict.update_function_configuration(FunctionName=NAME, **settings)
    found = settle(strict)
    assert {name: found[name] for name in settings} == settings
    assert found["ConfigSha256"] != before
    assert "LoggingConfig" not in plain.get_function_configuration(FunctionName=NAME)


def test_the_configurations_digest_says_whether_it_changed(plain: Any, strict: Any) -> None:
    assert "ConfigSha256" not in plain.get_function_configuration(FunctionName=NAME)
    first = settle(strict)
    strict.update_function_code(FunctionName=NAME, ZipFile=package("two"))
    assert settle(strict)["ConfigSha256"] == first["ConfigSha256"]
    strict.update_function_configuration(FunctionName=NAME, Timeout=9)
    second = settle(strict)["ConfigSha256"]
    assert second != first["ConfigSha256"]
    plain.update_function_configuration(FunctionName=NAME, MemorySize=512)  # by another hand
    assert settle(strict)["ConfigSha256"] not in {first["ConfigSha256"], second}


def test_a_role_that_was_just_made_cannot_be_assumed_yet(aws: InProcess, plain: Any) -> None:
    strict, iam = aws.session.client("lambda"), aws.session.client("iam")
    role = make_role(iam)
    make_function(plain, role, FunctionName="moto")
    error = refused("InvalidParameterValueException", make_function, client=strict, role=role)
    assert "cannot be assumed" in str(error)
    for _ in range(aws.strict.timing.role_calls - 1):
        strict.list_functions()
    make_function(strict, role)


def test_a_role_must_trust_lambda(aws: InProcess, plain: Any) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = make_role(aws.plain("iam"), trust=trust)
    make_function(plain, role, FunctionName="moto")
    refused("InvalidParameterValueException", make_function, client=aws.session.client("lambda"), role=role)


def test_a_role_that_was_just_made_is_not_found_at_once(aws: InProcess) -> None:
    iam = aws.session.client("iam")
    make_role(iam)
    for _ in range(aws.strict.timing.read_calls):
        error = refused("NoSuchEntity", iam.get_role, RoleName="role")
        assert isinstance(error, iam.exceptions.NoSuchEntityException)
    assert iam.get_role(RoleName="role")["Role"]["RoleName"] == "role"
    refused("EntityAlreadyExists", make_role, iam=iam)


def test_timing_can_be_chosen() -> None:
    with in_process(timing=Timing(polls=0, role_calls=0, read_calls=0)) as aws:
        client = ready_function(aws, aws.session.client("lambda"))
        assert client.get_function(FunctionName=NAME)["Configuration"]["State"] == "Active"
