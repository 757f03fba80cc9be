"""Releases, the lock and secrets on this machine: conditions hold for several writers, and nobody else can read."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployment.errors import MissingSecret, ProviderError
from deployment.objects import Condition, Conflict
from deployment.providers.local.folder_store import FolderStore
from deployment.providers.local.records import Records
from deployment.providers.local.secret_files import SecretFiles
from deployment.resources import Kind
from deployment.states import SecretPin

VALUE = "a-value-that-nobody-may-read"


@pytest.fixture
def objects(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "environment" / "objects")


@pytest.fixture
def secrets(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "environment" / "secrets")


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*")) if path.name != ".lock"}


# -- objects -----------------------------------------------------------------------------------------------------------


def test_looking_into_a_store_that_is_not_there_makes_none(objects: FolderStore) -> None:
    assert objects.get("lock.json") is None
    assert objects.list("") == []
    objects.delete("lock.json")
    assert not objects.folder.exists()


def test_what_was_written_is_read_with_the_version_that_the_write_returned(objects: FolderStore) -> None:
    version = objects.put("releases/000001.json", b"one")
    stored = objects.get("releases/000001.json")
    assert stored is not None
    assert (stored.content, stored.version) == (b"one", version)


def test_each_write_has_another_version_also_of_the_same_content(objects: FolderStore) -> None:
    versions = [objects.put("lock.json", content) for content in (b"a", b"b", b"a", b"a")]
    assert len(set(versions)) == len(versions)


def test_a_version_from_before_a_removal_is_never_good_again(objects: FolderStore) -> None:
    before = objects.put("lock.json", b"a")
    objects.delete("lock.json")
    objects.put("lock.json", b"a")
    with pytest.raises(Conflict):
        objects.put("lock.json", b"b", only_if=before)


def test_a_write_whose_condition_does_not_hold_writes_nothing(objects: FolderStore) -> None:
    first = objects.put("lock.json", b"a", only_if=Condition.ABSENT)
    with pytest.raises(Conflict):
        objects.put("lock.json", b"b", only_if=Condition.ABSENT)
    second = objects.put("lock.json", b"c", only_if=first)
    with pytest.raises(Conflict):
        objects.put("lock.json", b"d", only_if=first)
    stored = objects.get("lock.json")
    assert stored is not None
    assert (stored.content, stored.version) == (b"c", second)


def test_of_many_writers_with_one_condition_exactly_one_succeeds(objects: FolderStore) -> None:
    expected = objects.put("lock.json", b"0")
    for round_ in range(10):
        together = threading.Barrier(8)

        def write(number: int, expected: str, together: threading.Barrier) -> str | None:
            together.wait()
            try:
                return objects.put("lock.json", f"{number}".encode(), only_if=expected)
            except Conflict:
                return None

        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(write, range(8), [expected] * 8, [together] * 8))
        winners = [version for version in written if version]
        assert len(winners) == 1, f"round {round_}"
        expected = winners[0]


def test_keys_are_listed_by_their_beginning_in_order(objects: FolderStore) -> None:
    for key in ("releases/000002.json", "lock.json", "releases/000001.json"):
        objects.put(key, b"{}")
    assert objects.list("releases/") == ["releases/000001.json", "releases/000002.json"]
    assert objects.list("") == ["lock.json", "releases/000001.json", "releases/000002.json"]


@pytest.mark.parametrize("key", ["../outside", "releases/../../x", "/etc/x", ".counts.json", "a//b", ""])
def test_a_key_that_leads_out_of_the_store_is_refused(objects: FolderStore, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be an object's key"):
        objects.put(key, b"x")


def test_a_destroyed_store_is_gone_with_the_empty_folder_of_its_environment(objects: FolderStore) -> None:
    objects.put("lock.json", b"{}")
    objects.destroy()
    objects.destroy()
    assert not objects.folder.parent.exists()


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_by_its_version_and_the_newest_is_the_current_one(secrets: SecretFiles) -> None:
    assert secrets.describe(["KEY"]) == {}
    first = secrets.put("KEY", "one", request_id="1")
    second = secrets.put("KEY", "two", request_id="2")
    state = secrets.describe(["KEY", "OTHER"])["KEY"]
    assert (state.current, state.versions) == (second, (second, first))
    assert secrets.read(SecretPin("KEY", first)) == "one"
    assert secrets.read(SecretPin("KEY", second)) == "two"


def test_the_same_request_twice_is_one_version(secrets: SecretFiles) -> None:
    assert secrets.put("KEY", "one", request_id="1") == secrets.put("KEY", "one", request_id="1")
    assert len(secrets.describe(["KEY"])["KEY"].versions) == 1


def test_a_version_that_is_not_there_is_named_and_no_value_is(secrets: SecretFiles) -> None:
    secrets.put("KEY", VALUE, request_id="1")
    with pytest.raises(MissingSecret, match="KEY has no version 7") as missing:
        secrets.read(SecretPin("KEY", "7"))
    assert VALUE not in str(missing.value)


def test_a_versions_id_tells_nothing_of_its_value_and_never_comes_again(secrets: SecretFiles) -> None:
    ids = set()
    for _ in range(4):
        ids.add(secrets.put("KEY", "the same", request_id="1"))
        secrets.remove("KEY")
    assert len(ids) == 4


def test_versions_that_are_neither_current_nor_pinned_go(secrets: SecretFiles) -> None:
    versions = [secrets.put("KEY", f"{n}", request_id=f"{n}") for n in range(4)]
    secrets.keep_only([SecretPin("KEY", versions[1])])
    assert secrets.describe(["KEY"])["KEY"].versions == (versions[3], versions[1])
    secrets.keep_only([])
    assert secrets.describe(["KEY"])["KEY"].versions == (versions[3],)


def test_nothing_is_written_when_every_version_is_kept(secrets: SecretFiles) -> None:
    version = secrets.put("a/name with: everything", "1", request_id="1")
    files = {path: path.stat().st_ino for path in secrets.folder.glob("*.json")}
    secrets.keep_only([SecretPin("a/name with: everything", version)])
    assert {path: path.stat().st_ino for path in secrets.folder.glob("*.json")} == files


def test_nobody_else_can_read_what_is_kept(secrets: SecretFiles, objects: FolderStore) -> None:
    secrets.put("KEY", VALUE, request_id="1")
    objects.put("releases/000001.json", b"{}")
    assert modes(secrets.folder.parent) == {0}


def test_a_removed_secret_is_gone(secrets: SecretFiles) -> None:
    secrets.put("KEY", VALUE, request_id="1")
    secrets.remove("KEY")
    secrets.remove("KEY")
    assert secrets.describe(["KEY"]) == {}
    assert not secrets.folder.exists()


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_change_that_fails_is_not_written_and_an_equal_one_neither(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with records.changing("paid_stream") as record:
        record.resources[Kind.CAPACITY] = {"stopped": False}
    inode = (tmp_path / "state.json").stat().st_ino
    with records.changing("paid_stream") as record:
        record.resources[Kind.CAPACITY] = {"stopped": False}

    def change_and_fail() -> None:
        with records.changing("paid_stream") as record:
            record.port = 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert (tmp_path / "state.json").stat().st_ino == inode
    assert records.read()["paid_stream"].port is None


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 99, "functions": {}}', '{"format": 1, "functions": {"x": {}}}']
)
def test_records_of_another_version_are_refused_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ProviderError, match="remove the folder"):
        Records(tmp_path).read()
