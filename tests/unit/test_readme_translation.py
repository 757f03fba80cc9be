"""The Chinese README says what the English one says: whoever changes one changes both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
CHINESE_CHARACTER = re.compile(r"[\u4e00-\u9fff]")


def blocks(page: Path) -> list[str]:
    return FENCED.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def paragraphs(page: Path) -> list[str]:
    """Return what empty lines part, and each item of a list and each row of a table for itself."""
    parts = re.split(r"\n\n+|\n(?=- |\d\. |\|)", prose(page))
    return [part for part in (part.strip() for part in parts) if part]


def kind(paragraph: str) -> str:
    """Return what a paragraph is: a heading of a level, an item with its number, a row with its cells, or text."""
    mark = re.match(r"#+ |- |\d\. |\|", paragraph)
    return f"row of {paragraph.count('|')}" if mark and mark[0] == "|" else mark[0] if mark else "text"


def links(page: Path) -> list[str]:
    """Return the targets of a page's links in order, without the one to the other language."""
    found = re.findall(r"\]\(([^)]+)\)", prose(page))
    return [target for target in found if target not in {ENGLISH.name, CHINESE.name}]


def test_headings_have_the_same_levels_in_the_same_order() -> None:
    assert [kind(p) for p in paragraphs(CHINESE) if p.startswith("#")] == [
        kind(p) for p in paragraphs(ENGLISH) if p.startswith("#")
    ]


def test_code_blocks_and_commands_are_the_same_byte_for_byte() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_lists_and_tables_have_the_same_items_rows_and_cells_in_the_same_sections() -> None:
    shape = [[kind(p) for p in paragraphs(page) if kind(p) != "text"] for page in (CHINESE, ENGLISH)]
    assert shape[0] == shape[1]


def test_links_lead_to_the_same_places_in_the_same_order() -> None:
    assert links(CHINESE) == links(ENGLISH)


def test_every_code_word_of_one_is_in_the_other() -> None:
    """The Chinese page also says in words what the comments in the blocks say."""
    english, chinese = (set(CODE.findall(prose(page))) for page in (ENGLISH, CHINESE))
    assert english <= chinese
    assert {word for word in chinese - english if word not in "\n".join(blocks(ENGLISH))} == set()


@pytest.mark.parametrize(("page", "other"), [(ENGLISH, CHINESE), (CHINESE, ENGLISH)], ids=["en", "zh"])
def test_each_links_to_the_other(page: Path, other: Path) -> None:
    assert f"]({other.name})" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_link_into_the_project_has_a_target(page: Path) -> None:
    for target in links(page):
        if "://" not in target:
            assert (ROOT / target.partition("#")[0]).exists(), target


def test_all_of_its_text_is_translated() -> None:
    texts = [p for p in paragraphs(CHINESE) if kind(p) == "text"]
    assert [p for p in texts if not CHINESE_CHARACTER.search(p)] == []
