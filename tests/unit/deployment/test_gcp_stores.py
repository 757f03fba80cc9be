"""The bucket and the secrets of an environment on Google Cloud, on emulated APIs by HTTP."""

from __future__ import annotations

import contextlib
import tarfile
import traceback
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ForeignResource, MissingSecret, ProviderError
from deployment.objects import Condition, Conflict
from deployment.providers.gcp.packages import as_tar_gz, placeholder_package
from deployment.states import SecretPin
from devstack.clouds.gcp.api.world import PROJECT
from devstack.clouds.gcp.faults import CrashAt, Fails, Fault, Unanswered, failing
from tests.unit.deployment.cloud_kit import BUCKET
from tests.unit.deployment.gcp_kit import Site, World, new_site
from tests.unit.deployment.memory_kit import Killed

SECRET = "sluice-staging-a-secret-of-this-test"
PATH = f"/v1/projects/{PROJECT}/secrets"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site() as site:
        yield site


@pytest.fixture
def world(site: Site, tmp_path: Path) -> World:
    return site.world(tmp_path)


@pytest.fixture
def objects(world: World) -> Any:
    made = world.provider().objects
    made.ensure()
    world.cloud.recorder.clear()
    return made


@pytest.fixture
def secrets(world: World) -> Any:
    return world.provider().secrets


def test_a_bucket_is_made_once_closed_and_labelled(world: World, objects: Any) -> None:
    objects.ensure()
    assert world.writes() == []
    made = world.cloud.storage.buckets[BUCKET].document
    assert made["labels"] == {"sluice-environment": "staging"}
    assert made["location"] == "europe-west3"
    assert made["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
    assert made["iamConfiguration"]["publicAccessPrevention"] == "enforced"


@pytest.mark.parametrize(
    "opened",
    [{"publicAccessPrevention": "inherited"}, {"uniformBucketLevelAccess": {"enabled": False}}],
    ids=["public", "object by object"],
)
def test_a_bucket_opened_by_hand_is_closed_again(world: World, objects: Any, opened: dict[str, Any]) -> None:
    made = world.cloud.storage.buckets[BUCKET].document
    made["iamConfiguration"] |= opened
    objects.ensure()
    assert made["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
    assert made["iamConfiguration"]["publicAccessPrevention"] == "enforced"


def test_a_bucket_without_our_labels_is_left_alone(world: World) -> None:
    world.clients.rest.post("storage", f"/storage/v1/b?project={PROJECT}", {"name": BUCKET})
    world.cloud.recorder.clear()
    with pytest.raises(ForeignResource, match=BUCKET):
        world.provider().objects.ensure()
    world.provider().objects.destroy()
    assert world.writes() == []


def test_a_bucket_of_another_project_is_left_alone(world: World) -> None:
    world.cloud.storage.of_others.add(BUCKET)
    with pytest.raises(ForeignResource, match="belongs to another project"):
        world.provider().objects.ensure()
    assert world.writes() == []


def test_nothing_is_found_where_there_is_no_bucket(world: World) -> None:
    objects = world.provider().objects
    assert objects.get("lock.json") is None
    assert objects.list("") == []
    assert objects.generation_of("lock.json") is None
    objects.delete("lock.json")
    objects.destroy()


def test_a_conditional_write_succeeds_for_whoever_knows_the_version(objects: Any) -> None:
    first = objects.put("lock.json", b"1", only_if=Condition.ABSENT)
    with pytest.raises(Conflict):
        objects.put("lock.json", b"2", only_if=Condition.ABSENT)
    second = objects.put("lock.json", b"2", only_if=first)
    with pytest.raises(Conflict):
        objects.put("lock.json", b"3", only_if=first)
    found = objects.get("lock.json")
    assert (found.content, found.version) == (b"2", second)
    assert objects.put("lock.json", b"4") != second


def test_the_same_bytes_written_by_another_are_a_conflict_all_the_same(objects: Any) -> None:
    objects.put("lock.json", b"1", only_if=Condition.ABSENT)
    with pytest.raises(Conflict):
        objects.put("lock.json", b"1", only_if=Condition.ABSENT)


def test_our_own_write_whose_answer_was_lost_is_no_conflict(world: World, objects: Any) -> None:
    world.inject(Fails(lambda number: number == 1, Unanswered(), took_effect=True))
    version = objects.put("lock.json", b"1", only_if=Condition.ABSENT)
    assert objects.get("lock.json").version == version


def test_what_is_larger_than_one_request_takes_is_stored_whole(world: World, objects: Any) -> None:
    content = bytes(range(256)) * 40_000
    version = objects.put("packages/large.tar.gz", content, only_if=Condition.ABSENT)
    found = objects.get("packages/large.tar.gz")
    assert found.content == content
    assert found.version == version == str(objects.generation_of("packages/large.tar.gz"))
    with pytest.raises(Conflict):
        objects.put("packages/large.tar.gz", content, only_if=Condition.ABSENT)


def test_objects_are_listed_and_removed(objects: Any) -> None:
    for key in ("releases/2.json", "releases/1.json", "lock.json"):
        objects.put(key, b"{}")
    assert objects.list("releases/") == ["releases/1.json", "releases/2.json"]
    objects.delete("releases/1.json")
    objects.delete("releases/1.json")
    assert objects.list("") == ["lock.json", "releases/2.json"]


def test_a_bucket_goes_with_all_that_is_in_it(world: World, objects: Any) -> None:
    for number in range(3):
        objects.put(f"releases/{number}.json", b"{}")
    objects.destroy()
    objects.destroy()
    assert BUCKET not in world.cloud.storage.buckets


def test_a_package_is_the_same_archive_each_time_with_its_modes(tmp_path: Path) -> None:
    for turn, names in enumerate((("run.sh", "main.py"), ("main.py", "run.sh"))):
        with zipfile.ZipFile(tmp_path / f"{turn}.zip", "w") as archive:
            for name in names:
                entry = zipfile.ZipInfo(name, (1980 + turn, 1, 1, 0, 0, 0))
                entry.external_attr = (0o100755 if name == "run.sh" else 0o100644) << 16
                archive.writestr(entry, f"# {name}")
    made = as_tar_gz(tmp_path / "0.zip")
    assert made == as_tar_gz(tmp_path / "1.zip")
    with tarfile.open(fileobj=BytesIO(made)) as packed:
        assert [(each.name, each.mode) for each in packed] == [("main.py", 0o644), ("run.sh", 0o755)]
        content = packed.extractfile("main.py")
        assert content is not None
        assert content.read() == b"# main.py"
    assert placeholder_package() == placeholder_package()


def test_a_secret_is_found_under_its_version_and_the_newest_is_current(secrets: Any) -> None:
    first, second = (secrets.put(SECRET, value, request_id=value) for value in ("one", "two"))
    found = secrets.describe([SECRET, "no-such-secret"])
    assert list(found) == [SECRET]
    assert (found[SECRET].current, found[SECRET].versions, found[SECRET].ours) == (
        second,
        (second, first),
        True,
    )
    assert [secrets.read(SecretPin(SECRET, each)) for each in (first, second)] == ["one", "two"]


def test_more_versions_than_a_page_holds_are_all_found_the_newest_first(world: World, secrets: Any) -> None:
    secrets.put(SECRET, "one", request_id="1")
    kept = world.cloud.secrets.secrets[SECRET]
    (first,) = kept.versions
    stem = first["name"].removesuffix("1")
    kept.versions += [{**first, "name": f"{stem}{number}"} for number in range(2, 252)]
    found = secrets.describe([SECRET])[SECRET]
    assert found.versions == tuple(str(number) for number in range(251, 0, -1))


def test_the_same_request_sent_twice_is_one_version(secrets: Any) -> None:
    first = secrets.put(SECRET, "one", request_id="1")
    assert secrets.put(SECRET, "one", request_id="1") == first
    assert secrets.describe([SECRET])[SECRET].versions == (first,)


def test_versions_that_nothing_pins_are_let_go_of_and_then_nothing_is_written(
    world: World, secrets: Any
) -> None:
    versions = [secrets.put(SECRET, str(number), request_id=str(number)) for number in range(5)]
    pins = [SecretPin(SECRET, versions[1]), SecretPin(SECRET, versions[3]), SecretPin("no-such-secret", "1")]
    secrets.keep_only(pins)
    assert secrets.describe([SECRET])[SECRET].versions == (versions[4], versions[3], versions[1])
    assert [each["state"] for each in world.cloud.secrets.secrets[SECRET].versions].count("DESTROYED") == 2
    world.writes()
    secrets.keep_only(pins)
    assert world.writes() == []


@pytest.mark.parametrize("let_go", [False, True])
def test_a_version_that_cannot_be_read_is_told_by_its_name(secrets: Any, *, let_go: bool) -> None:
    versions = [secrets.put(SECRET, value, request_id=value) for value in ("one", "two", "three")]
    if let_go:
        secrets.keep_only([SecretPin(SECRET, versions[1])])
    missing = versions[0] if let_go else "77"
    with pytest.raises(MissingSecret, match=f"{SECRET} has no version {missing}"):
        secrets.read(SecretPin(SECRET, missing))


def test_a_secret_of_somebody_else_is_left_alone(world: World, secrets: Any) -> None:
    world.clients.rest.post("secretmanager", f"{PATH}?secretId={SECRET}", {"replication": {"automatic": {}}})
    world.clients.rest.post("secretmanager", f"{PATH}/{SECRET}:addVersion", {"payload": {"data": "b25l"}})
    world.cloud.recorder.clear()
    assert not secrets.describe([SECRET])[SECRET].ours
    with pytest.raises(ForeignResource, match=SECRET):
        secrets.put(SECRET, "two", request_id="2")
    secrets.keep_only([SecretPin(SECRET, "77")])
    secrets.remove(SECRET)
    assert world.writes() == []


def test_a_secret_without_a_value_is_none(world: World, secrets: Any) -> None:
    world.clients.rest.post("secretmanager", f"{PATH}?secretId={SECRET}", {"replication": {"automatic": {}}})
    assert secrets.describe([SECRET]) == {}


@pytest.mark.parametrize("k", range(1, 8))
@pytest.mark.parametrize("kind", ["killed before", "killed after", "lost", "failing"])
def test_putting_a_secret_again_after_anything_happened_ends_in_one_current_version(
    world: World, secrets: Any, kind: str, k: int
) -> None:
    fault: Fault = {
        "killed before": CrashAt(k),
        "killed after": CrashAt(k, took_effect=True),
        "lost": Fails(lambda number: number == k, Unanswered(), took_effect=True),
        "failing": Fails(lambda number: number == k, failing(), took_effect=True),
    }[kind]
    world.inject(fault)
    with contextlib.suppress(Killed):
        secrets.put(SECRET, "one", request_id="1")
    world.inject()
    version = secrets.put(SECRET, "one", request_id="1")
    assert secrets.describe([SECRET])[SECRET].versions == (version,)


def test_a_protected_environments_versions_can_be_had_back(world: World) -> None:
    secrets = world.provider(protected=True).secrets
    first, _ = (secrets.put(SECRET, value, request_id=value) for value in ("one", "two"))
    secrets.keep_only([SecretPin(SECRET, "2")])
    kept = world.cloud.secrets.secrets[SECRET]
    assert kept.versions[0]["state"] == "DISABLED"
    assert first in kept.values
    assert secrets.describe([SECRET])[SECRET].versions == ("2",)


def test_a_removed_secret_is_gone(world: World, secrets: Any) -> None:
    secrets.put(SECRET, "one", request_id="1")
    secrets.remove(SECRET)
    secrets.remove(SECRET)
    assert SECRET not in world.cloud.secrets.secrets


def test_no_error_holds_a_secrets_value(world: World, secrets: Any) -> None:
    value = "planted-value-of-this-test"
    secrets.put(SECRET, "before", request_id="0")
    world.inject(Fails(lambda _: True, failing(), counts=lambda call: call.operation == "add_version"))
    with pytest.raises(ProviderError) as caught:
        secrets.put(SECRET, value, request_id="1")
    assert value not in "".join(traceback.format_exception(caught.value))
    world.inject()
    with pytest.raises(ProviderError) as caught:
        secrets.put(SECRET, value * 4000, request_id="2")
    assert value not in "".join(traceback.format_exception(caught.value))
