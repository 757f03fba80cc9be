"""Rows of a page: the letters that share a baseline, in pieces between wide gaps.

Spaces are told by the gaps between letters as well as by space characters: many files have none. Between two
Chinese characters a space must be wide to be one.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.actions.readers.answer import Outcome, Unreadable

_SAME_BASELINE = 0.35
_PIECE_GAP = 0.9
_WORD_GAP = 0.18
_CJK_WORD_GAP = 0.5
_CJK_SPACE_GAP = 0.2
_BULLET_GAP = 4.0
"""All in heights of a letter."""
_MAX_ROWS = 5_000
_DOUBLED = 0.25
_MIN_TRACKED = 3
_BLANK = "".join(map(chr, range(0x21))) + "\x7f\u00a0\u2002\u2003\u2009\u3000"
"""Some programs give the space a control character's code."""
BULLET = re.compile(
    r"(?:[•◦▪▫■□●○◆◇►▶➢➤✓✔–—*·∙‣⁃-]|[\uf06c\uf06e\uf075\uf076\uf0a7\uf0a8\uf0b7\uf0d8\uf0fc]|\(?\d{1,2}[.)、）])"
)
CJK = re.compile(r"[\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Glyph:
    """A letter as it stands on the page; `baseline` grows upwards, `size` is the letter's height."""

    text: str
    x0: float
    x1: float
    baseline: float
    size: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a row without a wide gap."""

    text: str
    x0: float
    x1: float
    baseline: float
    size: float


Row = list[Piece]


def rows_of(glyphs: Sequence[Glyph]) -> list[Row]:
    """Return the rows of a page, highest first."""
    rows = list(_clusters([glyph for glyph in glyphs if glyph.size > 0]))
    if len(rows) > _MAX_ROWS:
        raise Unreadable(Outcome.TOO_HARD)
    return [row for row in map(_pieces, rows) if row]


def _clusters(glyphs: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    """Yield glyphs by baseline; the first of a row, not the last, is what the others are held against."""
    row: list[Glyph] = []
    for glyph in sorted(glyphs, key=lambda glyph: -glyph.baseline):
        if row and row[0].baseline - glyph.baseline > _SAME_BASELINE * min(row[0].size, glyph.size):
            yield row
            row = []
        row.append(glyph)
    if row:
        yield row


def _pieces(glyphs: Sequence[Glyph]) -> Row:
    letters = list(_visible(sorted(glyphs, key=lambda glyph: glyph.x0)))
    if not letters:
        return []
    loose = _tracking(letters)
    groups: list[list[Glyph]] = [[letters[0][0]]]
    texts = [letters[0][0].text]
    for (before, _), (letter, spaced) in itertools.pairwise(letters):
        gap = _gap(before, letter) - loose
        if gap > _PIECE_GAP + loose:
            groups.append([])
            texts.append("")
        elif _is_space(before, letter, gap, spaced=spaced):
            texts[-1] += " "
        groups[-1].append(letter)
        texts[-1] += letter.text
    return _with_bullets([_piece(text, group) for text, group in zip(texts, groups, strict=True)])


def _visible(glyphs: Sequence[Glyph]) -> Iterator[tuple[Glyph, bool]]:
    """Yield each letter once, and whether a space stands before it; some print twice to make bold."""
    before, spaced = None, False
    for glyph in glyphs:
        if not glyph.text.strip(_BLANK):
            spaced = True
            continue
        if before is not None and _is_printed_over(before, glyph):
            continue
        yield glyph, spaced
        before, spaced = glyph, False


def _is_printed_over(before: Glyph, glyph: Glyph) -> bool:
    return before.text == glyph.text and glyph.x0 - before.x0 < _DOUBLED * (before.x1 - before.x0)


def _tracking(letters: Sequence[tuple[Glyph, bool]]) -> float:
    """Return the usual gap between letters, for headings that are S P A C E D."""
    pairs = itertools.pairwise(letters)
    gaps = [_gap(before, after) for (before, _), (after, spaced) in pairs if not spaced]
    return max(statistics.median(gaps), 0.0) if len(gaps) >= _MIN_TRACKED else 0.0


def _gap(before: Glyph, after: Glyph) -> float:
    return (after.x0 - before.x1) / max(before.size, after.size)


def _is_space(before: Glyph, letter: Glyph, gap: float, *, spaced: bool) -> bool:
    if CJK.match(before.text) and CJK.match(letter.text):
        return gap > (_CJK_SPACE_GAP if spaced else _CJK_WORD_GAP)
    return spaced or gap > _WORD_GAP


def _piece(text: str, letters: Sequence[Glyph]) -> Piece:
    largest = max(letters, key=lambda letter: letter.size)
    return Piece(text, letters[0].x0, max(letter.x1 for letter in letters), largest.baseline, largest.size)


def _with_bullets(row: Row) -> Row:
    """Join a bullet or a number to what it stands before."""
    if len(row) < 2 or not BULLET.fullmatch(row[0].text):
        return row
    bullet, first, *others = row
    if first.x0 - bullet.x1 > _BULLET_GAP * first.size:
        return row
    return [Piece(f"{bullet.text} {first.text}", bullet.x0, first.x1, first.baseline, first.size), *others]
