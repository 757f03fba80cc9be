"""The reading order of a page: glyphs → rows → pieces → blocks of lines.

A row is what shares a baseline; a piece is a part of it between wide gaps. Rows that leave the same strip
free, the gutter, are columns and are read one after the other. Not so a list of entries with their dates, or
of labels with their values: its rows belong together, and are read across.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.actions.readers.rows import Glyph, Piece, Row, rows_of

_SAME_BASELINE = 0.35
_MIN_GUTTER = 0.8
_CELL_GAP = 2.0
"""In heights of a letter."""
_MIN_COLUMN_ROWS = 3
_MAX_TABLE_ROWS = 6
_LOOK_AHEAD = 200
_HEAD_GAP = 1.5
_ALIGNED = 0.8
_ENTRIES = 0.5
_MAX_DATE_CHARS = 24
_GRID_CELLS = 3
_MAX_CELL = 8.0
_DATE = re.compile(r"(?:19|20)\d\d|至今|present\b|\bnow\b", re.IGNORECASE)
_LABEL = re.compile(r"[:：]$")


@dataclass(frozen=True, slots=True)
class Strip:
    """An upright strip that rows leave free, and how many of them have something on each side of it."""

    low: float
    high: float
    rows_left: int = 0
    rows_right: int = 0

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    def after(self, row: Row) -> Iterator[Strip]:
        """Yield what a row leaves of the strip."""
        edge = self.low
        for piece in row:
            if piece.x0 >= self.high:
                break
            if piece.x0 > edge:
                yield self._within(edge, piece.x0, row)
            edge = max(edge, piece.x1)
        if edge < self.high:
            yield self._within(edge, self.high, row)

    def _within(self, low: float, high: float, row: Row) -> Strip:
        has_left = any(piece.x1 <= low for piece in row)
        has_right = any(piece.x0 >= high for piece in row)
        return Strip(low, high, self.rows_left + has_left, self.rows_right + has_right)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows `begin` to `end`, parted; what stands before `begin` is read across."""

    begin: int
    end: int
    left: list[Row]
    right: list[Row]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a block; `cells` says of how many things apart, where a justified line is one."""

    text: str
    x0: float
    x1: float
    baseline: float
    size: float
    cells: int


Block = list[Line]


def blocks_of(glyphs: Sequence[Glyph]) -> Iterator[Block]:
    """Yield a page's blocks in the order in which they are read."""
    yield from _ordered(rows_of(glyphs))


def _ordered(rows: Sequence[Row]) -> Iterator[Block]:
    """Part rows into those across and runs with a gutter, whose sides are parted again."""
    across: list[Row] = []
    start = 0
    while start < len(rows):
        found = _columns_from(rows, start)
        if found is None:
            across.append(rows[start])
            start += 1
            continue
        across += rows[start : found.begin]
        start = found.end
        if found.left:
            yield from _block(across)
            across = []
            yield from _ordered(found.left)
            yield from _ordered(found.right)
    yield from _block(across)


def _block(rows: Sequence[Row]) -> Iterator[Block]:
    if rows:
        yield [_line(row) for row in rows]


def _line(row: Row) -> Line:
    largest = max(row, key=lambda piece: piece.size)
    text = " ".join(piece.text for piece in row)
    gaps = [(right.x0 - left.x1) / largest.size for left, right in itertools.pairwise(row)]
    cells = 1 + sum(gap > _CELL_GAP for gap in gaps)
    return Line(text, row[0].x0, max(p.x1 for p in row), largest.baseline, largest.size, cells)


def _columns_from(rows: Sequence[Row], start: int) -> Columns | None:
    """Return the longest run of columns that begins at `start`, without what stands above one of them."""
    found = _run_from(rows, start)
    if found is None:
        return None
    end, gutter = found
    begin = start + _head(rows[start:end], gutter.middle)
    left, right = _sides(rows[begin:end], gutter.middle)
    if min(len(left), len(right)) < _MIN_COLUMN_ROWS:
        return None
    if _is_grid(rows[begin:end]) or _reads_across(left, right):
        return Columns(end, end, [], [])
    return Columns(begin, end, left, right)


def _run_from(rows: Sequence[Row], start: int) -> tuple[int, Strip] | None:
    """Follow free strips downwards until one has rows on both sides, and that one to its end."""
    ahead = rows[start : start + _LOOK_AHEAD]
    low, high = min(row[0].x0 for row in ahead), max(row[-1].x1 for row in ahead)
    strips, gutter, end = [Strip(low, high)], None, start
    for row in rows[start:]:
        width = _MIN_GUTTER * min(piece.size for piece in row)
        strips = [left for strip in strips for left in strip.after(row) if left.high - left.low >= width]
        between = [strip for strip in strips if min(strip.rows_left, strip.rows_right) >= _MIN_COLUMN_ROWS]
        if gutter is not None and not between:
            break
        if between:
            strips, gutter = between, max(between, key=lambda strip: strip.high - strip.low)
        if not strips:
            break
        end += 1
    return None if gutter is None else (end, gutter)


def _head(rows: Sequence[Row], middle: float) -> int:
    """Return how many rows stand above one of two columns, well before the other begins."""
    left = next(index for index, row in enumerate(rows) if row[0].x1 <= middle)
    right = next(index for index, row in enumerate(rows) if row[-1].x1 > middle)
    second = rows[max(left, right)][0]
    above = (row for row in rows if row[0].baseline - second.baseline > _HEAD_GAP * second.size)
    return sum(1 for _ in above)


def _sides(rows: Sequence[Row], middle: float) -> tuple[list[Row], list[Row]]:
    left = [[piece for piece in row if piece.x1 <= middle] for row in rows]
    right = [[piece for piece in row if piece.x1 > middle] for row in rows]
    return [row for row in left if row], [row for row in right if row]


def _reads_across(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """Say whether two sides are one list: rows have partners, and are entries with a date or a label."""
    pairs = list(_pairs(left, right))
    fewer = min(len(left), len(right))
    if len(pairs) < _ALIGNED * fewer:
        return False
    if len(pairs) == len(left) == len(right) <= _MAX_TABLE_ROWS:
        return True
    return sum(_is_entry(*pair) for pair in pairs) >= _ENTRIES * len(pairs)


def _is_grid(rows: Sequence[Row]) -> bool:
    """Say whether most rows have three short cells and more, as in a form that was filled in."""
    cells = [row for row in rows if len(row) >= _GRID_CELLS and _cell_width(row) <= _MAX_CELL]
    return len(cells) >= _ENTRIES * len(rows)


def _cell_width(row: Row) -> float:
    """Return the usual width of a row's cells, in heights of a letter."""
    return statistics.median((piece.x1 - piece.x0) / piece.size for piece in row)


def _pairs(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Piece, Piece]]:
    """Yield the last piece on the left and the first on the right of rows that share a baseline."""
    at = 0
    for row in left:
        tolerance = _SAME_BASELINE * row[-1].size
        while at < len(right) and right[at][0].baseline > row[-1].baseline + tolerance:
            at += 1
        if at < len(right) and abs(right[at][0].baseline - row[-1].baseline) <= tolerance:
            yield row[-1], right[at][0]


def _is_entry(left: Piece, right: Piece) -> bool:
    return bool(_LABEL.search(left.text)) or any(
        len(piece.text) <= _MAX_DATE_CHARS and _DATE.search(piece.text) for piece in (left, right)
    )
