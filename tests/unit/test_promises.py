"""The page of promises says what the tests say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/internals/promises.md").read_text()
ROWS = dict(re.findall(r"^\| (D\d+) \| .* \| (.*) \|$", PAGE, re.MULTILINE))
FAULTS = [f"D{number}" for number in range(1, 39)]


def docstrings(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name: ast.get_docstring(function) or "" for function in functions}


def test_every_fault_has_a_row() -> None:
    assert sorted(ROWS) == sorted(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_test_that_a_row_names_is_there_and_names_the_fault(fault: str) -> None:
    named = re.findall(r"`([\w/.]+)`: `(\w+)`", ROWS[fault])
    assert named
    for path, test in named:
        assert re.search(rf"\b{fault}\b", docstrings(ROOT / "tests" / path)[test])


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_a_test_that_is_named_after_its_number(fault: str) -> None:
    names = re.findall(r"`(test_\w+)`", ROWS[fault])
    assert any(f"_{fault.lower()}_" in name for name in names)


def test_every_place_that_the_page_names_is_there() -> None:
    places = re.findall(r"`((?:unit|integration|e2e|bundle)/[\w/.]*)`", PAGE)
    assert places
    assert [place for place in places if not (ROOT / "tests" / place).exists()] == []
