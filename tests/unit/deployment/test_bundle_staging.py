"""Staging: what a bundle holds, that its digest is its content, that it disturbs nobody; what run.sh starts."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from deployment.bundles.staging import BuildError, Bundle, content_digest, stage
from deployment.catalogue import load_catalogue
from shared.routing import Template, templates_of
from tests.unit.deployment.bundle_kit import repository, spec

SPEC = spec()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a tiny repository with one function and two rooms."""
    return repository(tmp_path)


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


def test_a_bundle_for_an_environment_that_wants_more_has_one_list_of_both(root: Path) -> None:
    (root / "requirements" / "telemetry.txt").write_text("teller==2 \\\n    --hash=sha256:bb\n")
    spec = dataclasses.replace(SPEC, extras=("telemetry",))
    (bundle,) = stage([spec], root.parent / "build", root=root)
    own = (root / "requirements" / "base.txt").read_text()
    text = (bundle.folder / "requirements.txt").read_text()
    assert text.startswith(own)
    assert text.endswith("teller==2 \\\n    --hash=sha256:bb\n")


def test_lists_that_disagree_are_not_built_from(root: Path) -> None:
    for name, version in (("base", 1), ("telemetry", 2)):
        (root / "requirements" / f"{name}.txt").write_text(f"teller=={version}\n")
    spec = dataclasses.replace(SPEC, extras=("telemetry",))
    with pytest.raises(BuildError, match="teller==2 in one list of requirements, teller==1 in another"):
        stage([spec], root.parent / "build", root=root)


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


@pytest.fixture
def started(root: Path, tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Return what run.sh starts, with which arguments and in which environment: a stand-in tells."""
    folder = build(root).folder
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "arguments=$*"\necho "home=$HOME"\necho "path=$PYTHONPATH"\n')
    python.chmod(0o755)

    def start(environment: Mapping[str, str]) -> dict[str, str]:
        ran = subprocess.run(
            [folder / "run.sh"],
            env={"PATH": f"{python.parent}:/usr/bin:/bin", **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stderr == ""
        return dict(line.split("=", 1) for line in ran.stdout.splitlines())

    return start


Start = Callable[[Mapping[str, str]], dict[str, str]]


@pytest.mark.parametrize(
    ("environment", "host", "port"),
    [
        ({}, "127.0.0.1", "8080"),
        ({"PORT": "9001"}, "127.0.0.1", "9001"),
        ({"AWS_LWA_PORT": "9002", "PORT": "9001"}, "127.0.0.1", "9002"),
        ({"K_SERVICE": "lamp", "PORT": "9003"}, "0.0.0.0", "9003"),
        ({"K_SERVICE": "lamp", "HOST": "127.0.0.1"}, "127.0.0.1", "8080"),
    ],
)
def test_run_sh_listens_where_its_platform_calls(
    started: Start, environment: dict[str, str], host: str, port: str
) -> None:
    arguments = started(environment)["arguments"]
    assert arguments == (f"-m functions_framework --source main.py --target lamp --host {host} --port {port}")


def test_run_sh_fetches_secrets_first_when_they_are_only_named(started: Start) -> None:
    arguments = started({"SLUICE_SECRETS": '{"TOKEN": {"id": "a b", "version": "1"}}'})["arguments"]
    assert arguments == "-m shared.starting --source main.py --target lamp --host 127.0.0.1 --port 8080"


def test_run_sh_sees_its_own_folder_first(started: Start, root: Path) -> None:
    folder = root.parent / "build" / "lamp"
    assert started({})["path"] == str(folder)
    assert started({"PYTHONPATH": "/opt/python"})["path"] == f"{folder}:/opt/python"


def test_run_sh_takes_another_home_where_its_own_cannot_be_written(started: Start, tmp_path: Path) -> None:
    assert started({"HOME": "/dev/null/nowhere"})["home"] == "/tmp"
    assert started({})["home"] == "/tmp"
    assert started({"HOME": str(tmp_path)})["home"] == str(tmp_path)


def test_a_lane_holds_the_prompts_of_its_own_templates_and_no_other(tmp_path: Path) -> None:
    for bundle in stage(load_catalogue().values(), tmp_path):
        prompts = bundle.folder / "shared" / "llm" / "prompts"
        held = {folder.name for folder in prompts.iterdir()} if prompts.is_dir() else set()
        lane = load_catalogue()[bundle.name].lane
        used = {str(template) for template in templates_of(lane)} if lane else set()
        assert held & set(Template) == used
        assert {"rules", "repair"} <= held or lane is None
