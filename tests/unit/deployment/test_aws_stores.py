"""The bucket and the secrets of an environment on AWS, on moto with its strictness."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ForeignResource, MissingSecret, ProviderError
from deployment.objects import Condition, Conflict
from deployment.states import SecretPin
from devstack.clouds.aws.strict.calls import Call
from devstack.clouds.aws.strict.faults import CrashAt, Fault, Killed, LostResponse
from tests.unit.deployment.aws_kit import World, new_world
from tests.unit.deployment.cloud_kit import BUCKET

SECRET = "sluice/staging/REDIS_URL"
HERE = {"CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path, ("free_stream",)) as made:
        yield made


@pytest.fixture
def objects(world: World) -> Any:
    made = world.provider().objects
    made.ensure()
    world.aws.strict.recorder.clear()
    return made


@pytest.fixture
def secrets(world: World) -> Any:
    return world.provider().secrets


def test_a_bucket_is_made_once_closed_and_tagged(world: World, objects: Any) -> None:
    objects.ensure()
    assert world.aws.strict.recorder.writes() == ()
    s3 = world.client("s3")
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [
        {"Key": "sluice:environment", "Value": "staging"}
    ]
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())


def test_a_bucket_opened_by_hand_is_closed_again(world: World, objects: Any) -> None:
    world.client("s3").delete_public_access_block(Bucket=BUCKET)
    objects.ensure()
    found = world.client("s3").get_public_access_block(Bucket=BUCKET)
    assert all(found["PublicAccessBlockConfiguration"].values())


@pytest.mark.parametrize("k", range(1, 8))
def test_whoever_makes_the_bucket_may_be_killed_at_any_call(world: World, k: int) -> None:
    world.aws.strict.inject(CrashAt(k))
    with pytest.raises(Killed):
        world.provider().objects.ensure()
    world.aws.strict.inject()
    world.provider().objects.ensure()
    assert world.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    assert world.client("s3").get_public_access_block(Bucket=BUCKET)


def test_a_bucket_of_somebody_else_is_left_alone(world: World) -> None:
    s3 = world.client("s3")
    s3.create_bucket(Bucket=BUCKET, **HERE)
    s3.put_object(Bucket=BUCKET, Key="theirs", Body=b"1")
    objects = world.provider().objects
    world.aws.strict.recorder.clear()
    with pytest.raises(ForeignResource, match=BUCKET):
        objects.ensure()
    objects.destroy()
    assert world.aws.strict.recorder.writes() == ()


def test_an_empty_bucket_with_tags_of_others_is_left_alone(world: World) -> None:
    s3 = world.client("s3")
    s3.create_bucket(Bucket=BUCKET, **HERE)
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "team", "Value": "data"}]})
    with pytest.raises(ForeignResource, match="without this environment's tags"):
        world.provider().objects.ensure()


def test_nothing_is_found_where_there_is_no_bucket(world: World) -> None:
    objects = world.provider().objects
    assert objects.get("lock.json") is None
    assert objects.list("") == []
    objects.delete("lock.json")
    objects.destroy()


def test_a_conditional_write_succeeds_for_whoever_knows_the_version(objects: Any) -> None:
    first = objects.put("a/b", b"1", only_if=Condition.ABSENT)
    assert objects.get("a/b").version == first
    second = objects.put("a/b", b"2", only_if=first)
    for stale in (first, Condition.ABSENT):
        with pytest.raises(Conflict):
            objects.put("a/b", b"3", only_if=stale)
    assert (objects.get("a/b").content, objects.get("a/b").version) == (b"2", second)
    with pytest.raises(Conflict):
        objects.put("missing", b"3", only_if=second)


def test_the_same_bytes_written_by_another_are_a_conflict_all_the_same(objects: Any) -> None:
    objects.put("a", b"1", only_if=Condition.ABSENT)
    with pytest.raises(Conflict):
        objects.put("a", b"1", only_if=Condition.ABSENT)


def test_our_own_write_whose_answer_was_lost_is_no_conflict(world: World, objects: Any) -> None:
    world.aws.strict.inject(LostResponse(1))
    first = objects.put("a", b"1", only_if=Condition.ABSENT)
    world.aws.strict.inject(LostResponse(1))
    assert objects.put("a", b"2", only_if=first) == objects.get("a").version


def test_objects_are_listed_and_removed(objects: Any) -> None:
    for key in ("releases/2", "releases/1", "packages/x"):
        objects.put(key, b"1")
    assert objects.list("releases/") == ["releases/1", "releases/2"]
    objects.delete("releases/1")
    objects.delete("releases/1")
    assert objects.list("") == ["packages/x", "releases/2"]


def test_a_bucket_goes_with_every_version_of_what_is_in_it(world: World, objects: Any) -> None:
    s3 = world.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"1", b"2"):
        objects.put("a", content)
    objects.delete("a")
    objects.destroy()
    assert s3.list_buckets()["Buckets"] == []


def test_a_packages_digest_is_the_one_that_lambda_tells(world: World, objects: Any) -> None:
    objects.put("packages/x.zip", b"zip")
    digest = base64.b64encode(hashlib.sha256(b"zip").digest()).decode()
    assert objects.sha256_of("packages/x.zip") == digest
    assert objects.sha256_of("packages/y.zip") is None


def test_a_secret_is_found_under_its_version_and_the_newest_is_current(secrets: Any) -> None:
    first = secrets.put(SECRET, "one", request_id="1")
    second = secrets.put(SECRET, "two", request_id="2")
    assert secrets.read(SecretPin(SECRET, first)) == "one"
    assert secrets.read(SecretPin(SECRET, second)) == "two"
    found = secrets.describe([SECRET, "sluice/staging/NONE"])
    assert found.keys() == {SECRET}
    assert (found[SECRET].current, set(found[SECRET].versions)) == (second, {first, second})
    assert found[SECRET].ours


def test_the_same_request_sent_twice_is_one_version(world: World, secrets: Any) -> None:
    first = secrets.put(SECRET, "one", request_id="1")
    assert secrets.put(SECRET, "one", request_id="1") == first
    world.aws.strict.inject(LostResponse(1, counts=lambda call: call.operation == "PutSecretValue"))
    second = secrets.put(SECRET, "two", request_id="2")
    world.aws.strict.inject()
    assert set(secrets.describe([SECRET])[SECRET].versions) == {first, second}


def test_pinned_versions_can_be_read_however_many_come_after(secrets: Any) -> None:
    versions = [secrets.put(SECRET, str(number), request_id=str(number)) for number in range(15)]
    assert [secrets.read(SecretPin(SECRET, version)) for version in versions] == [str(n) for n in range(15)]
    assert set(secrets.describe([SECRET])[SECRET].versions) == set(versions)


def test_versions_that_nothing_pins_are_let_go_of_and_then_nothing_is_written(
    world: World, secrets: Any
) -> None:
    versions = [secrets.put(SECRET, str(number), request_id=str(number)) for number in range(6)]
    pins = [SecretPin(SECRET, versions[2])]
    secrets.keep_only(pins)
    # The one before the current one keeps AWSPREVIOUS, which is Secrets Manager's own.
    assert set(secrets.describe([SECRET])[SECRET].versions) == {versions[2], versions[4], versions[5]}
    world.aws.strict.recorder.clear()
    secrets.keep_only(pins)
    assert world.aws.strict.recorder.writes() == ()


def test_a_version_that_is_not_there_is_told_by_its_name(secrets: Any) -> None:
    version = secrets.put(SECRET, "one", request_id="1")
    with pytest.raises(MissingSecret, match=f"{SECRET} has no version"):
        secrets.read(SecretPin(SECRET, version.replace(version[0], "0" if version[0] != "0" else "1")))
    with pytest.raises(MissingSecret, match="OTHER has no version"):
        secrets.read(SecretPin("sluice/staging/OTHER", version))


def test_a_secret_of_somebody_else_is_left_alone(world: World, secrets: Any) -> None:
    client = world.client("secretsmanager")
    client.create_secret(Name=SECRET, SecretString="theirs")
    assert not secrets.describe([SECRET])[SECRET].ours
    world.aws.strict.recorder.clear()
    with pytest.raises(ForeignResource, match=SECRET):
        secrets.put(SECRET, "ours", request_id="1")
    secrets.remove(SECRET)
    secrets.keep_only([SecretPin(SECRET, "x")])
    assert world.aws.strict.recorder.writes() == ()


def test_a_secret_without_a_value_is_none(world: World, secrets: Any) -> None:
    world.aws.strict.inject(CrashAt(1, counts=lambda call: call.operation == "PutSecretValue"))
    with pytest.raises(Killed):
        secrets.put(SECRET, "one", request_id="1")
    world.aws.strict.inject()
    assert secrets.describe([SECRET]) == {}


@pytest.mark.parametrize("value", ["the first", "a later one"])
@pytest.mark.parametrize("fault", [CrashAt, LostResponse])
@pytest.mark.parametrize("k", range(1, 7))
def test_putting_a_secret_again_after_anything_happened_ends_in_one_current_version(
    world: World, secrets: Any, value: str, fault: type[CrashAt | LostResponse], k: int
) -> None:
    before = {secrets.put(SECRET, "zero", request_id="0")} if value == "a later one" else set()
    world.aws.strict.inject(fault(k))
    with contextlib.suppress(Killed):
        secrets.put(SECRET, value, request_id="1")
    world.aws.strict.inject()
    version = secrets.put(SECRET, value, request_id="1")
    found = secrets.describe([SECRET])[SECRET]
    assert (found.current, set(found.versions)) == (version, {version, *before})
    assert found.versions[0] == version
    assert secrets.read(SecretPin(SECRET, version)) == value


def test_a_removed_secret_is_gone_and_a_protected_one_can_be_taken_back(world: World) -> None:
    client = world.client("secretsmanager")
    for protected in (False, True):
        secrets = world.provider(protected=protected).secrets
        secrets.put(SECRET, "one", request_id="1")
        secrets.remove(SECRET)
        secrets.remove(SECRET)
        assert secrets.describe([SECRET]) == {}
        found = client.list_secrets(IncludePlannedDeletion=True)["SecretList"]
        assert bool(found) is protected
    version = world.provider().secrets.put(SECRET, "two", request_id="2")
    assert world.provider().secrets.describe([SECRET])[SECRET].current == version


class Echo(Fault):
    """A refusal that repeats what was sent, as AWS's validation does."""

    def before(self, call: Call, number: int) -> None:
        if number:
            raise call.refusal("ValidationException", f"{call.params['SecretString']} is not allowed")


def test_no_error_holds_a_secrets_value(world: World, secrets: Any) -> None:
    world.aws.strict.inject(Echo(counts=lambda call: call.operation == "PutSecretValue"))
    value = "planted"
    with pytest.raises(ProviderError, match="is not allowed") as caught:
        secrets.put(SECRET, value, request_id="1")
    assert value not in "".join(traceback.format_exception(caught.value))
