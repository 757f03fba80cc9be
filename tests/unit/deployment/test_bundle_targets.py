"""Targets and the interpreters that compile for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deployment.bundles.staging import BuildError
from deployment.bundles.targets import Target, find_interpreter

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def interpreter(folder: Path, version: str, python: str = "3.99") -> Path:
    """Write a stand-in of an interpreter that answers with a version, or fails as a shim does."""
    folder.mkdir(parents=True)
    path = folder / f"python{python}"
    path.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\necho 3.99.9\nexit 127\n")
    path.chmod(0o755)
    return path


def environ(tmp_path: Path, *folders: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, folders)), "PYENV_ROOT": str(tmp_path / "pyenv")}


@pytest.mark.parametrize("wrong", ["3", "3.13.1", "2.7", "three", "3.13 ; rm"])
def test_what_is_no_minor_version_of_python_is_refused(wrong: str) -> None:
    with pytest.raises(BuildError, match="no minor version"):
        Target(wrong)


@pytest.mark.parametrize("wrong", ["", "sparc-solaris", "x86_64", "x86_64-many linux"])
def test_what_is_no_platform_is_refused(wrong: str) -> None:
    with pytest.raises(BuildError, match="no platform"):
        Target("3.13", wrong)


@pytest.mark.parametrize(("architecture", "begins"), [("x86_64", "x86_64-"), ("arm64", "aarch64-")])
def test_the_clouds_names_of_an_architecture_lead_to_a_platform_and_back(
    architecture: str, begins: str
) -> None:
    target = Target.of("3.13", architecture)
    assert target.platform.startswith(begins)
    assert target.architecture == architecture


def test_an_architecture_that_no_cloud_has_is_refused() -> None:
    with pytest.raises(BuildError, match="sparc is no architecture"):
        Target.of("3.13", "sparc")


def test_this_machines_own_target_runs_here() -> None:
    assert Target.here().runs_here
    assert Target.here().python == RUNNING


def test_the_running_interpreter_compiles_for_its_own_version() -> None:
    found = find_interpreter(RUNNING)
    assert (found.path, found.version) == (Path(sys.executable), sys.version.split()[0])


def test_an_interpreter_is_found_behind_a_shim_that_does_not_start(tmp_path: Path) -> None:
    shim = interpreter(tmp_path / "shims", "")
    real = interpreter(tmp_path / "bin", "3.99.4")
    found = find_interpreter("3.99", environ(tmp_path, shim.parent, real.parent))
    assert (found.path, found.version) == (real, "3.99.4")


def test_an_interpreter_of_another_version_under_that_name_is_passed_over(tmp_path: Path) -> None:
    wrong = interpreter(tmp_path / "bin", "3.9.1")
    kept = interpreter(tmp_path / "pyenv/versions/3.99.0/bin", "3.99.0")
    assert find_interpreter("3.99", environ(tmp_path, wrong.parent)).path == kept


def test_without_an_interpreter_the_message_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no Python 3\.99 .*--python.*--no-bytecode"):
        find_interpreter("3.99", environ(tmp_path))
