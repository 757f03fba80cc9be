"""The text of a PDF comes out in the order in which a person reads it, in both languages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from fpdf import FPDF

from shared.actions.readers.pdf import read_pdf
from shared.actions.readers.prose import tidy
from shared.actions.readers.rows import Glyph, rows_of
from tests.documents_kit import (
    CHINESE,
    ENGLISH,
    named_font_pdf,
    pdf,
    pdf_at,
    pdf_of,
    raw_pdf,
    two_columns,
)

LEFT = {
    "en": [
        "CONTACT",
        "ann@example.com",
        "+49 30 1234567",
        "SKILLS",
        "Python",
        "PostgreSQL",
        "LANGUAGES",
        "Chinese",
    ],
    "zh": [
        "联系方式",
        "邮箱：lin@example.com",
        "电话：138 0000 0000",
        "技能",
        "Python、Go",
        "语言",
        "英语流利",
    ],
}
RIGHT = {
    "en": [
        "EXPERIENCE",
        "Acme Pay, senior engineer, 2019 to 2025",
        "Led the rewrite of the ledger and cut the latency.",
        "Blue Whale, engineer",
        "Built the first version of the settlement pipeline.",
        "EDUCATION",
        "MSc Computer Science, TU Berlin",
    ],
    "zh": [
        "工作经历",
        "某支付公司 高级工程师",
        "负责账务系统重构，将对账耗时降到十二分钟。",
        "蓝鲸科技 工程师",
        "从零搭建结算流水线。",
        "教育背景",
        "浙江大学 计算机科学 硕士",
        "二〇一三年毕业",
        "主修分布式系统",
    ],
}


def assert_in_order(text: str, expected: list[str]) -> None:
    """Each of the expected texts is there, and after the one before."""
    places = [text.index(part) for part in expected]
    assert places == sorted(places), text


@pytest.mark.parametrize("offset", [0, 1.6, 2.7, -1.1])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_columns_are_read_one_after_the_other(language: str, offset: float) -> None:
    left, right = LEFT[language], RIGHT[language]
    text = read_pdf(two_columns(left, right, head="Ann Lee 林美", offset=offset))
    assert_in_order(text, ["Ann Lee 林美", *left, *right])


@pytest.mark.parametrize("leading", [4.5, 6, 9])
def test_a_narrow_column_on_the_right_is_read_second(leading: float) -> None:
    text = read_pdf(two_columns(RIGHT["en"], LEFT["en"], head="Ann Lee", leading=leading, at=135))
    assert_in_order(text, ["Ann Lee", *RIGHT["en"], *LEFT["en"]])


def test_three_columns_are_read_one_after_the_other() -> None:
    cells = [
        (x, 40 + 6 * row + shift, f"{name}{row} word")
        for x, name, shift in ((20, "a", 0), (80, "b", 1.7), (140, "c", 3))
        for row in range(8)
    ]
    assert_in_order(read_pdf(pdf_at(cells)), [f"{name}{row} word" for name in "abc" for row in range(8)])


def test_what_stands_across_between_two_pairs_of_columns_is_read_between_them() -> None:
    head = "A heading that goes across the whole of the page, from one side of it to the other one"
    first = [(x, 30 + 6 * row, f"{x}-first-{row}") for row in range(4) for x in (20, 110)]
    second = [(x, 70 + 6 * row, f"{x}-second-{row}") for row in range(4) for x in (20, 110)]
    text = read_pdf(pdf_at([*first, (20, 60, head), *second]))
    expected = [f"{x}-first-{row}" for x in (20, 110) for row in range(4)]
    assert text.replace("\n", " ").index(head) > max(text.index(part) for part in expected)


def test_justified_columns_of_running_text_are_read_one_after_the_other() -> None:
    sentences = [
        f"Sentence number {n} tells of work that was done in that year with much care." for n in range(24)
    ]

    def draw(document: FPDF) -> None:
        with document.text_columns(ncols=2, gutter=8, text_align="J") as columns:
            columns.write(" ".join(sentences))

    assert_in_order(read_pdf(pdf(draw)).replace("\n", " "), [f"number {n} tells" for n in range(24)])


def test_entries_with_their_dates_are_read_across() -> None:
    rows = [(30 + 6 * n, f"Company {n}, engineer", f"{2010 + n}–{2011 + n}") for n in range(9)]
    text = read_pdf(pdf_at([cell for y, left, right in rows for cell in ((20, y, left), (160, y, right))]))
    assert text.split("\n") == [f"{left} {right}" for _, left, right in rows]


@pytest.mark.parametrize("mark", [":", "："])
def test_labels_are_read_with_their_values(mark: str) -> None:
    rows = [(30 + 6 * n, f"Label{n}{mark}", f"value {n}") for n in range(8)]
    text = read_pdf(pdf_at([cell for y, left, right in rows for cell in ((20, y, left), (70, y, right))]))
    assert text.split("\n") == [f"{left} {right}" for _, left, right in rows]


def test_a_form_that_was_filled_in_is_read_across() -> None:
    rows = [
        ("姓名", "林晓雯", "性别", "女"),
        ("出生年月", "1995年3月", "籍贯", "浙江杭州"),
        ("学历", "本科", "专业", "软件工程"),
        ("求职意向", "后端工程师", "期望城市", "上海"),
        ("工作年限", "六年", "到岗时间", "一个月内"),
        ("电话", "138-0000-0000", "邮箱", "lin@example.com"),
        ("政治面貌", "群众", "婚姻状况", "已婚"),
    ]
    cells = [(20 + 40 * n, 30 + 8 * y, cell) for y, row in enumerate(rows) for n, cell in enumerate(row)]
    assert read_pdf(pdf_at(cells)).split("\n\n") == [" ".join(row) for row in rows]


def test_bullets_stay_with_their_items_and_are_no_column() -> None:
    items = [f"item number {n}" for n in range(6)]
    cells = [cell for n, item in enumerate(items) for cell in ((20, 30 + 6 * n, "•"), (27, 30 + 6 * n, item))]
    assert read_pdf(pdf_at(cells)).split("\n") == [f"• {item}" for item in items]


@pytest.mark.parametrize("lines", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_a_paragraph_broken_into_lines_is_one_again(lines: tuple[str, ...]) -> None:
    paragraphs = [line * (4 if line == lines[1] else 1) for line in lines]

    def draw(document: FPDF) -> None:
        for paragraph in paragraphs:
            document.multi_cell(
                85, 5, paragraph.replace(". ", ", "), align="L", new_x="LMARGIN", new_y="NEXT"
            )
            document.ln(6)

    text = read_pdf(pdf(draw))
    joined = "".join(text.split("\n")).replace(" ", "")
    assert joined == "".join(paragraphs).replace(". ", ", ").replace(" ", "")
    if lines is CHINESE:
        assert " " not in text


def test_a_word_broken_at_a_line_s_end_is_whole_again_and_a_compound_keeps_its_hyphen() -> None:
    def draw(document: FPDF) -> None:
        document.multi_cell(
            90, 5, "A long-standing interest in the develop-\nment and in the testing of full-\nstack code"
        )

    assert "the development and in the testing of full-stack code" in read_pdf(pdf(draw))


def test_chinese_and_latin_words_keep_their_spaces_and_chinese_has_none() -> None:
    assert read_pdf(pdf_at([(20, 30, "熟悉 Python 与 Go 语言开发")])) == "熟悉 Python 与 Go 语言开发"


def test_a_heading_of_spaced_letters_is_a_word() -> None:
    def draw(document: FPDF) -> None:
        document.set_char_spacing(4)
        document.text(20, 30, "EXPERIENCE")
        document.text(20, 40, "工作经历")

    assert read_pdf(pdf(draw)).split() == ["EXPERIENCE", "工作经历"]


def test_text_printed_twice_to_look_bold_is_read_once() -> None:
    assert read_pdf(pdf_at([(20, 30, "Ann Lee"), (20.05, 30, "Ann Lee")])) == "Ann Lee"


def test_a_watermark_across_the_page_is_not_part_of_the_text() -> None:
    def draw(document: FPDF) -> None:
        document.text(20, 30, "Ann Lee, engineer")
        with document.rotation(45, 100, 100):
            document.text(60, 100, "CONFIDENTIAL")

    assert read_pdf(pdf(draw)) == "Ann Lee, engineer"


def test_pages_follow_each_other() -> None:
    assert read_pdf(pdf_of(ENGLISH, pages=3)).split("\n\n") == list(ENGLISH) * 3


@pytest.mark.parametrize("to_unicode", [False, True])
def test_a_chinese_font_that_is_only_named_is_read(to_unicode: bool) -> None:
    assert read_pdf(named_font_pdf("高级工程师", to_unicode=to_unicode)) == "高级工程师"


def test_spaces_are_told_by_gaps_where_a_file_has_none() -> None:
    shown = b"BT /F1 10 Tf 50 700 Td [(Senior) -300 (engineer) -20 (s)] TJ ET"
    assert read_pdf(raw_pdf(shown)) == "Senior engineers"


def test_a_space_that_has_a_control_character_s_code_is_a_space() -> None:
    glyphs = [Glyph(letter, n * 5.0, n * 5.0 + 5, 700, 10) for n, letter in enumerate("工程\x01工程 a\x01b")]
    assert [piece.text for row in rows_of(glyphs) for piece in row] == ["工程 工程 a b"]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("ﬁnance and ﬂow of eﬀort", "finance and flow of effort"),
        ("⼯程师", "工程师"),
        ("soft\u00adware", "software"),
        ("\uf0b7 an item\n\uf0a7 another", "• an item\n• another"),
        ("one\n\n\n\n\ntwo", "one\n\ntwo"),
        ("a \u00a0 b\u200b\x00\ue123", "a b"),
    ],
)
def test_characters_become_what_was_meant(raw: str, clean: str) -> None:
    assert tidy(raw) == clean


def test_every_reading_order_is_the_same_again() -> None:
    data = two_columns(LEFT["en"], RIGHT["en"], head="Ann Lee", offset=2)
    assert all(one == other for one, other in pairwise(read_pdf(data) for _ in range(3)))
