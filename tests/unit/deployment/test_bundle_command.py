"""`scripts/deploy.py build`, as it is typed: what it prints, what it refuses, and with which exit status."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deployment.catalogue import ROOT, load_catalogue
from deployment.cli.main import main


def deploy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/deploy.py"), *arguments]  # with whichever python3 is on the path
    return subprocess.run(command, capture_output=True, text=True, timeout=80, check=False, cwd="/")


def test_build_prints_each_functions_digest(tmp_path: Path) -> None:
    built = deploy("build", "--output", str(tmp_path))
    assert built.returncode == 0, built.stderr
    lines = [line.split() for line in built.stdout.splitlines()]
    assert [name for name, _ in lines] == list(load_catalogue())
    assert all(digest.startswith("sha256:") and len(digest) == 71 for _, digest in lines)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", *load_catalogue()}


def test_build_as_json_is_one_document_with_the_same_digests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "actions", "--output", str(tmp_path)]) == 0
    told = capsys.readouterr().out.split()
    assert main(["build", "actions", "--json", "--output", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"actions": {"digest": told[1].removeprefix("sha256:")}}


def test_a_function_that_does_not_exist_is_refused_and_the_nearest_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["build", "paid_steam"]) == 1
    assert "There is no function paid_steam; did you mean paid_stream?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["build", "--package", "--platform", "sparc"], "invalid choice: 'sparc'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_an_error_like_any_other_and_never_looks_like_a_plan_with_changes(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    assert says in capsys.readouterr().err


def test_a_python_that_nobody_has_is_refused_with_the_ways_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "events", "--package", "--python", "3.99"]) == 1
    said = capsys.readouterr().err
    assert "There is no Python 3.99" in said
    assert "--no-bytecode" in said


def test_help_names_what_a_release_engineer_must_know() -> None:
    told = deploy("build", "--help")
    assert told.returncode == 0
    for word in ("--package", "--python", "--platform", "--no-bytecode", "infra/budgets.toml"):
        assert word in told.stdout
