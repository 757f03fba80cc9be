"""`scripts/deploy.py build`: what a bundle holds, that its digest is its content, that staging disturbs nobody."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from deployment.bundles.staging import BuildError, Bundle, content_digest, stage
from deployment.catalogue import FunctionSpec
from scripts import deploy

SPEC = FunctionSpec(
    name="lamp",
    rooms=("lanes",),
    requirements="base",
    variables=(),
    secrets=(),
    memory_mb=128,
    timeout_seconds=60,
    concurrency=8,
    min_instances=0,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a tiny repository with one function and two rooms."""
    files = {
        "functions/lamp/main.py": "import shared\n",
        "functions/lamp/notes.md": "not for the bundle\n",
        "requirements/base.txt": "flask\n",
        "shared/__init__.py": "",
        "shared/lanes/__init__.py": "",
        "shared/lanes/prompt.md": "hello\n",
        "shared/lanes/__pycache__/worker.cpython-311.pyc": "compiled",
        "shared/actions/__init__.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "repository"


def build(root: Path, folder: str = "build") -> Bundle:
    (bundle,) = stage([SPEC], root.parent / folder, root=root)
    return bundle


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_its_source_its_rooms_and_its_requirements_and_nothing_else(root: Path) -> None:
    assert names(build(root).folder) == {
        "main.py",
        "requirements.txt",
        "run.sh",
        "shared/__init__.py",
        "shared/lanes/__init__.py",
        "shared/lanes/prompt.md",
    }


def test_run_sh_is_executable_and_the_rest_is_not_whatever_the_checkout_says(root: Path) -> None:
    (root / "functions/lamp/main.py").chmod(0o777)
    folder = build(root).folder
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in names(folder)}
    assert {name for name, mode in modes.items() if mode == 0o755} == {"run.sh"}
    assert set(modes.values()) == {0o755, 0o644}


def test_the_same_sources_give_the_same_digest_whatever_their_times(root: Path) -> None:
    first = build(root, "one")
    for path in root.rglob("*.py"):
        os.utime(path, (1, 1))
    assert build(root, "two").digest == first.digest


@pytest.mark.parametrize(
    "name", ["functions/lamp/main.py", "requirements/base.txt", "shared/lanes/prompt.md"]
)
def test_one_changed_file_changes_the_digest(root: Path, name: str) -> None:
    before = build(root).digest
    (root / name).write_text("other\n")
    assert build(root).digest != before


def test_a_file_removed_from_the_sources_leaves_the_bundle(root: Path) -> None:
    build(root)
    (root / "shared/lanes/prompt.md").unlink()
    assert "shared/lanes/prompt.md" not in names(build(root).folder)


def test_a_bundle_that_has_not_changed_is_left_standing(root: Path) -> None:
    inode = build(root).folder.stat().st_ino
    (root.parent / "build/lamp/shared/__pycache__").mkdir()
    assert build(root).folder.stat().st_ino == inode


def test_a_bundle_that_was_tampered_with_is_built_again(root: Path) -> None:
    bundle = build(root)
    (bundle.folder / "main.py").write_text("print('tampered')\n")
    assert content_digest(build(root).folder) == bundle.digest


def test_staging_leaves_nothing_aside_also_when_it_fails(root: Path) -> None:
    build(root)
    (root / "requirements/base.txt").unlink()
    with pytest.raises(BuildError, match=r"requirements/base\.txt does not exist"):
        build(root)
    assert {path.name for path in (root.parent / "build").iterdir()} == {".lock", "lamp"}


def test_a_room_that_does_not_exist_is_an_error_that_names_it(root: Path) -> None:
    with pytest.raises(BuildError, match="no attic"):
        stage([dataclasses.replace(SPEC, rooms=("attic",))], root.parent / "build", root=root)


def test_build_refuses_a_function_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["build", "nonsense"]) == 1
    assert "no such function: nonsense" in capsys.readouterr().err
