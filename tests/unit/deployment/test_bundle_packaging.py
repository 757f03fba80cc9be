"""Packaging: the same bytes wherever it happens, nothing of the builder, whole or not at all, never twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.bundles.budgets import BudgetExceeded
from deployment.bundles.packaging import Package, package
from deployment.bundles.staging import BuildError
from deployment.bundles.targets import PLATFORMS, Target
from tests.unit.deployment.bundle_kit import BUDGETS, WHEEL, lock, repository, spec

LAMP, TORCH = spec(), spec("torch")
PACKAGE = """
import os, sys
from pathlib import Path
from deployment.bundles.packaging import package
from deployment.bundles.targets import Target
from tests.unit.deployment.bundle_kit import repository, spec
os.umask(int(sys.argv[3], 8))
folder = Path(sys.argv[1])
root = repository(folder, backwards=sys.argv[2] == "backwards")
package([spec()], Target.here(), folder / "build", root=root)
"""
OTHER = next(platform for platform in PLATFORMS if platform != Target.here().platform)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return repository(tmp_path)


def build(root: Path, *, bytecode: bool = True, target: Target | None = None) -> Package:
    (made,) = package([LAMP], target or Target.here(), root.parent / "build", root=root, bytecode=bytecode)
    return made


def names(made: Package) -> set[str]:
    with zipfile.ZipFile(made.zip_file) as archive:
        return set(archive.namelist())


def packaged(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in (folder / "build" / "packages").iterdir() if path.is_file()
    }


def published(root: Path) -> set[str]:
    folder = root.parent / "build" / "packages"
    return {path.name for path in folder.iterdir()} - {".lock", ".dependencies"}


def test_two_builds_with_other_folders_seeds_masks_and_orders_make_the_same_bytes(tmp_path: Path) -> None:
    ways = [("one", "forwards", "022", "1"), ("two/deeper", "backwards", "077", "2")]
    for name, order, mask, seed in ways:
        command = [sys.executable, "-c", PACKAGE, str(tmp_path / name), order, mask]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, timeout=80)

    first, second = packaged(tmp_path / "one"), packaged(tmp_path / "two/deeper")
    assert {Path(name).suffix for name in first} == {".zip", ".json", ""}
    manifests = [
        json.loads(found.pop(next(n for n in found if "manifest" in n))) for found in (first, second)
    ]
    assert first == second
    # The lock names the folder of the wheel here, so it and what is derived from it are not the same.
    for manifest in manifests:
        del manifest["recipe"], manifest["lock_sha256"]
    assert manifests[0] == manifests[1]


def test_a_package_holds_sources_dependencies_and_bytecode_and_nothing_of_the_builder(root: Path) -> None:
    tag = sys.implementation.cache_tag
    assert names(build(root)) == {
        "main.py",
        f"__pycache__/main.{tag}.pyc",
        "run.sh",
        "shade-1.5.dist-info/METADATA",
        "shade/__init__.py",
        f"shade/__pycache__/__init__.{tag}.pyc",
        "shared/__init__.py",
        f"shared/__pycache__/__init__.{tag}.pyc",
        "shared/lanes/__init__.py",
        f"shared/lanes/__pycache__/__init__.{tag}.pyc",
        "shared/lanes/prompt.md",
    }


def test_times_and_modes_in_the_zip_are_fixed_and_only_run_sh_is_executable(root: Path) -> None:
    with zipfile.ZipFile(build(root).zip_file) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.filename for member in members if member.external_attr >> 16 & 0o111} == {"run.sh"}
    assert [member.filename for member in members] == sorted(member.filename for member in members)


def test_bytecode_is_never_checked_against_its_source(root: Path) -> None:
    with zipfile.ZipFile(build(root).zip_file) as archive:
        compiled = [archive.read(name) for name in archive.namelist() if name.endswith(".pyc")]
    assert {int.from_bytes(content[4:8], "little") for content in compiled} == {0b01}


def test_bytecode_names_the_platforms_folder_not_the_builders(root: Path, tmp_path: Path) -> None:
    made = build(root)
    assert str(tmp_path).encode() not in b"".join(
        zipfile.ZipFile(made.zip_file).read(name) for name in names(made)
    )


def test_without_bytecode_nothing_is_compiled_and_it_is_another_package(root: Path) -> None:
    plain = build(root, bytecode=False)
    assert [name for name in names(plain) if name.endswith(".pyc")] == []
    assert plain.digest != build(root).digest


def test_another_target_is_another_package_and_is_not_started_here(root: Path) -> None:
    elsewhere = build(root, target=Target(Target.here().python, OTHER))
    assert elsewhere.manifest.modules_at_start is None
    assert elsewhere.digest != build(root).digest


def test_a_comment_in_the_lock_changes_no_package(root: Path) -> None:
    before = build(root)
    with (root / "requirements/base.txt").open("a") as requirements:
        requirements.write("# via lamp\n")
    assert build(root).digest == before.digest


def test_a_changed_source_changes_the_package_and_takes_the_dependencies_as_they_are(root: Path) -> None:
    before = build(root)
    said: list[str] = []
    (root / "shared/lanes/prompt.md").write_text("good morning\n")
    (after,) = package([LAMP], Target.here(), root.parent / "build", root=root, progress=said.append)
    assert after.digest != before.digest
    assert said == ["lamp: packaging"]


def test_what_has_not_changed_is_not_made_again(root: Path) -> None:
    inode = build(root).zip_file.stat().st_ino
    assert build(root).zip_file.stat().st_ino == inode


@pytest.mark.parametrize("harmed", ["zip_file", "sbom_file", "manifest_file"])
def test_a_package_that_is_damaged_or_lacks_a_file_is_made_again(root: Path, harmed: str) -> None:
    made = build(root)
    whole = {path: path.read_bytes() for path in (made.zip_file, made.sbom_file, made.manifest_file)}
    file: Path = getattr(made, harmed)
    if harmed == "manifest_file":
        file.unlink()
    else:
        file.write_bytes(b"x")
    build(root)
    assert {path: path.read_bytes() for path in whole} == whole


def test_kept_dependencies_that_are_damaged_are_gathered_again(root: Path) -> None:
    before = build(root)
    (kept,) = (before.folder / ".dependencies").glob("*.zip")
    content = bytearray(kept.read_bytes())
    content[content.index(b"shade/__init__.py") + 20] ^= 0xFF
    kept.write_bytes(content)
    before.manifest_file.unlink()
    assert build(root).manifest.zip_sha256 == before.manifest.zip_sha256


def test_functions_with_the_same_lock_share_their_dependencies(root: Path) -> None:
    said: list[str] = []
    made = package([LAMP, TORCH], Target.here(), root.parent / "build", root=root, progress=said.append)
    assert [each.function for each in made] == ["lamp", "torch"]
    assert [line.split(": ")[0] for line in said if "installing" in line] == ["lamp"]
    assert made[0].digest != made[1].digest


def test_a_wheel_that_is_not_the_locked_one_is_refused(root: Path) -> None:
    (root / "requirements/base.txt").write_text(lock(root.parent / "wheels", "0" * 64))
    with pytest.raises(BuildError, match=r"(?s)do not install.*[Hh]ash"):
        build(root)
    assert published(root) == set()


def test_a_pin_without_a_hash_is_refused(root: Path) -> None:
    requirements = root / "requirements/base.txt"
    requirements.write_text(requirements.read_text().split("\\")[0])
    with pytest.raises(BuildError, match="do not install"):
        build(root)


def test_a_package_that_does_not_start_is_not_published_and_says_why(root: Path) -> None:
    (root / "functions/lamp/main.py").write_text("import bulb\n")
    with pytest.raises(BuildError, match=r"(?s)lamp: the package does not start.*No module named 'bulb'"):
        build(root)
    assert published(root) == set()


def test_a_source_that_does_not_compile_is_named(root: Path) -> None:
    (root / "shared/lanes/__init__.py").write_text("def\n")
    with pytest.raises(BuildError, match=r"(?s)does not compile.*shared/lanes/__init__\.py"):
        build(root)


def test_a_package_beyond_its_budget_is_not_published(root: Path) -> None:
    (root / "infra/budgets.toml").write_text(BUDGETS.replace("zip_bytes = 1_000_000", "zip_bytes = 10"))
    with pytest.raises(BudgetExceeded, match=r"lamp: the zip has .* above"):
        build(root)
    assert published(root) == set()


def test_a_package_that_stands_is_held_to_a_budget_that_was_lowered_since(root: Path) -> None:
    build(root)
    (root / "infra/budgets.toml").write_text(BUDGETS.replace("modules = 400", "modules = 1"))
    with pytest.raises(BudgetExceeded, match="its start loads"):
        build(root)


def test_a_list_of_requirements_without_a_budget_is_an_error_that_names_it(root: Path) -> None:
    shutil.copy(root / "requirements/base.txt", root / "requirements/glow.txt")
    with pytest.raises(BuildError, match=r"infra/budgets\.toml has no \[budgets\.glow\]"):
        package([replace(LAMP, requirements="glow")], Target.here(), root.parent / "build", root=root)


def test_a_dependency_may_not_bring_a_module_of_ours(root: Path) -> None:
    (root / "shared/__init__.py").unlink()
    with zipfile.ZipFile(root.parent / "wheels" / WHEEL, "a") as wheel:
        wheel.writestr("shared/surprise.py", "")
    sha256 = subprocess.run(
        ["sha256sum", root.parent / "wheels" / WHEEL], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    (root / "requirements/base.txt").write_text(lock(root.parent / "wheels", sha256))
    with pytest.raises(BuildError, match="a dependency brings its own shared"):
        build(root)


def test_what_a_killed_build_left_is_swept_away(root: Path) -> None:
    for folder in ("packages", "packages/.dependencies", "unpacked"):
        left = root.parent / "build" / folder / ".work" / "own"
        left.mkdir(parents=True)
        (left / "main.py").write_text("import bulb\n")
    made = build(root)
    assert published(root) == {path.name for path in (made.zip_file, made.sbom_file, made.manifest_file)}


def test_several_builds_at_once_make_one_package(tmp_path: Path, root: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from deployment.bundles.packaging import package; from deployment.bundles.targets import Target\n"
        "from tests.unit.deployment.bundle_kit import spec\n"
        "root = Path(sys.argv[1])\n"
        "(made,) = package([spec()], Target.here(), root.parent / 'build', root=root)\n"
        "print(made.manifest.zip_sha256)\n"
    )
    command = [sys.executable, "-c", program, str(root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate(timeout=80)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert ended == [f"{build(root).manifest.zip_sha256}\n"] * 3


def test_a_package_runs_from_itself_alone(root: Path, tmp_path: Path) -> None:
    tree = build(root).unpack(tmp_path / "elsewhere")
    shutil.rmtree(root)
    load = "import sys; sys.path.insert(0, sys.argv[1]); import main; print(main.lamp(None), main.__cached__)"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", load, tree], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["on", str(tree / f"__pycache__/main.{sys.implementation.cache_tag}.pyc")]


def test_unpacked_trees_share_their_files_and_cannot_be_edited(root: Path, tmp_path: Path) -> None:
    made = package([LAMP, TORCH], Target.here(), root.parent / "build", root=root)
    one, two = (each.unpack(tmp_path / "trees") for each in made)
    shared = [tree / "shade/__init__.py" for tree in (one, two)]
    assert shared[0].samefile(shared[1])
    assert {path.stat().st_mode & 0o222 for path in one.rglob("*") if path.is_file()} == {0}
    assert os.access(one / "run.sh", os.X_OK)


def test_the_manifest_tells_what_is_in_it_and_what_it_was_made_from(root: Path) -> None:
    git = ["git", "-C", str(root), "-c", "user.name=N", "-c", "user.email=n@localhost"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "lamp"]):
        subprocess.run([*git, *arguments], check=True)
    manifest = json.loads(build(root).manifest_file.read_text())
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert manifest["source"] == {"revision": head.stdout.strip(), "dirty": False}
    assert manifest["tools"]["compiler"] == f"Python {sys.version.split()[0]}"
    assert {"shade", "shared.lanes"} & set(manifest["modules_at_start"]) == {"shade"}
    assert {file["path"] for file in manifest["files"]} == names(build(root))

    (root / "shared/lanes/prompt.md").write_text("changed\n")
    assert json.loads(build(root).manifest_file.read_text())["source"]["dirty"] is True
