"""docs/deploy.md is what happens: its two minutes are pasted from top to bottom, and every line is compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from deployment.cli.main import parser
from deployment.environments import load_environment

ROOT = Path(__file__).parents[3]
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("deploy.md", "runbook.md")}
PAGE = PAGES["deploy.md"]
COPIED = ("deployment", "devstack", "functions", "infra", "requirements", "scripts", "shared")
ANY = "…"
"""On the page: any number of lines."""
VARYING = (
    (re.compile(r"\b[0-9a-f]{12}(\+changes)?\b"), "<digest>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"by \w+\.$|(?<=UTC  )\S+"), "<who>"),
    (re.compile(r"[ ─━]+"), " "),
)
"""What differs from run to run, or with the width of a column."""


@dataclass(frozen=True)
class Block:
    """What is pasted at once, what the page says that it prints, and how it ends."""

    source: str
    printed: str
    status: int

    @classmethod
    def of(cls, part: str) -> Self:
        source, told = part.split("\n```", 1)
        shown = re.match(r"\n```text\n(.*?)\n```", told, re.DOTALL)
        status = re.search(r"# exit status (\d)", source)
        return cls(source, shown[1] if shown else "", int(status[1]) if status else 0)


def blocks(section: str, page: str = PAGE) -> list[Block]:
    """Return the blocks of commands of one section."""
    text = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [Block.of(part) for part in re.split(r"^```sh\n", text, flags=re.MULTILINE)[1:]]


def commands(page: str) -> list[str]:
    """Return every call of scripts/deploy.py that stands in a page's blocks of commands."""
    sources = re.findall(r"^ *```(?:sh|yaml)\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    found = re.findall(r"scripts/deploy\.py ([^\n|#;)]*)", "\n".join(sources).replace("\\\n", " "))
    return [each.strip() for each in found]


def plain(line: str) -> str:
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.strip()


def missing(told: str, real: str) -> str | None:
    """Return the first line of the page that was not printed where it should have been; None when all were."""
    lines, skipping = iter([plain(line) for line in real.splitlines()]), False
    for wanted in (plain(line) for line in told.splitlines()):
        if wanted == ANY:
            skipping = True
            continue
        for line in lines:
            if matches(wanted, line):
                break
            if not skipping:
                return f"{wanted!r}, but {line!r} was printed"
        else:
            return f"{wanted!r} was never printed"
        skipping = False
    left = [line for line in lines if line]
    return None if skipping or not left else f"{left[0]!r} was printed beyond the end"


def matches(wanted: str, line: str) -> bool:
    return line.startswith(wanted[:-1]) if wanted.endswith(ANY) else line == wanted


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository, in which prompts can be changed and environments made."""
    folder = tmp_path / "checkout"
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "build").mkdir()
    (folder / ".gitignore").write_text(".venv\nbuild\n__pycache__\n")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        author = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", *author, *command], cwd=folder, check=True)
    yield folder
    paste("scripts/deploy.py destroy --env dev --confirm dev", folder)


def paste(source: str, folder: Path) -> tuple[int, str]:
    """Run a block in a shell and return its exit status and what it printed, both kinds together."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }
    done = subprocess.run(
        ["bash", "-ec", source],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.timeout(600)
def test_the_two_minutes_print_what_the_page_says(checkout: Path) -> None:
    for block in blocks("Two minutes on this machine"):
        status, printed = paste(block.source, checkout)
        assert status == block.status, f"{block.source}\n{printed}"
        problem = missing(block.printed, printed)
        assert problem is None, f"{block.source}\n{problem}\n\n{printed}"
    assert not list((checkout / "build/environments/dev").glob("objects/releases/*"))


def test_a_file_that_is_not_filled_in_says_what_is_missing_as_the_page_does() -> None:
    (block,) = [each for each in blocks("AWS") if each.status == 1]
    status, printed = paste(block.source, ROOT)
    assert (status, missing(block.printed, printed)) == (block.status, None)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_pages_is_one(name: str) -> None:
    found = commands(PAGES[name])
    assert found
    for command in found:
        words = re.sub(r"'[^']*'", "x", command).replace("$each", "GLM_API_KEY").split()
        parser().parse_args(words)


def test_every_command_that_there_is_has_a_word_on_the_page() -> None:
    (subcommands,) = [action.choices for action in parser()._actions if action.dest == "command"]
    assert subcommands
    for name in subcommands:
        assert re.search(rf"`{name}\b", PAGE), name


def test_environments_that_the_page_names_are_there() -> None:
    for name in ("dev", "staging", "prod"):
        assert load_environment(name).name == name


@pytest.mark.parametrize("name", PAGES)
def test_every_link_has_a_target(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[name]):
        assert (ROOT / "docs" / target).exists(), target


def test_every_sum_of_the_costs_follows_from_its_formula() -> None:
    section = PAGE.split("\n## What it costs\n", 1)[1].split("\n## ", 1)[0]
    values = {
        name: float(value)
        for name, value in re.findall(r"^\|[^|]+\| `(\w+)` \| ([\d.]+) \|", section, re.MULTILINE)
    }
    sums = re.findall(r"^\|[^|]+\| `([^`]+)` \| ([\d.]+) \|$", section, re.MULTILINE)
    formulas = [(formula, told) for formula, told in sums if "*" in formula]
    assert len(formulas) == 7
    for formula, told in formulas:
        assert f"{eval(formula, {'__builtins__': {}}, values):.2f}" == told, formula  # our own page's


def test_what_all_instances_cost_in_an_hour_follows_from_the_files() -> None:
    from deployment.catalogue import load_catalogue

    specs = load_environment("prod").specs(load_catalogue()).values()
    gb = sum(spec.reserved_concurrency * spec.memory_mb / 1024 for spec in specs)
    instances = sum(spec.reserved_concurrency for spec in specs)
    assert f"all {instances}\ninstances" in PAGE
    assert f"are {gb * 3600 * 0.0000166667:.2f} dollars" in PAGE


def test_the_trust_policy_of_the_page_is_json() -> None:
    for source in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        json.loads(source)
