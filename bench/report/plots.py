"""A section's picture: a panel for each figure, a bar for each subject up to its median, its runs as dots.

An SVG of our own in the colours of the other pages, readable on a light and on a dark ground. Where one
subject is far from the others the axis is logarithmic, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from bench.figures import Figure
from bench.report.numbers import short
from bench.report.results import Results, by_name

_WIDTH, _MARGIN, _BAR, _HEAD, _FOOT = 760, 16, 22, 40, 14
_CHARACTER, _SHORTEST_LABEL, _VALUE = 6.6, 15, 90
_FAR_APART = 100
"""From this ratio on a linear axis shows one bar and a row of nothings."""
_STYLE = """<style>
  svg {
    --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --ground: #ffffff; --accent: #0b6bcb; --bad: #c22f3d;
    --bar: #c5cad1;
  }
  @media (prefers-color-scheme: dark) {
    svg {
      --ink: #e8eaed; --soft: #9ba1a9; --line: #32363c; --ground: #1c1f24; --accent: #6cb2f7; --bad: #f2777f;
      --bar: #4a5058;
    }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: var(--soft); }
  .ground { fill: var(--ground); stroke: var(--line); }
  .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
  .value { fill: var(--ink); }
  .bar { fill: var(--bar); }
  .own { fill: var(--accent); fill-opacity: .75; }
  .dot { fill: var(--ink); fill-opacity: .55; }
  .goal { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 4 3; }
</style>"""


class Axis:
    """Where a value lies, in pixels from the panel's zero."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        longest = max(_SHORTEST_LABEL, *(len(figure.subject) for figure in figures))
        self.zero = _MARGIN + round(longest * _CHARACTER)
        self._length = _WIDTH - _MARGIN - _VALUE - self.zero
        self._has_own = any(_is_own(figure) for figure in figures)
        values = [value for figure in figures for value in figure.values]
        values += [limit for figure in figures if (limit := limit_of(figure)) is not None]
        positive = [value for value in values if value > 0]
        self._top = max(values, default=0.0) or 1.0
        self._bottom = min(positive, default=1.0)
        self.is_logarithmic = bool(positive) and self._top / self._bottom > _FAR_APART

    def at(self, value: float) -> float:
        if value <= 0:
            return 0.0
        if not self.is_logarithmic:
            return self._length * value / self._top
        low, high = math.log(self._bottom / 2), math.log(self._top)
        return self._length * (math.log(value) - low) / (high - low)

    def kind(self, figure: Figure) -> str:
        """Return the bar's class: Sluice stands out among others; where there are none, all is Sluice's."""
        return "own" if _is_own(figure) or not self._has_own else "bar"


def draw(results: Results, section: str) -> str:
    """Return the picture of one section."""
    panels = list(by_name(results.of_section(section)))
    height = 2 * _MARGIN + sum(_height(figures) for _, figures in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(section)}</title>",
        _STYLE,
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    top = _MARGIN
    for name, figures in panels:
        parts += _panel(name, figures, top)
        top += _height(figures)
    return "\n".join([*parts, "</svg>"]) + "\n"


def limit_of(figure: Figure) -> float | None:
    """Return where the goal's line is drawn."""
    if figure.goal is None:
        return None
    return figure.goal.at_most if figure.goal.at_most is not None else figure.goal.at_least


def _height(figures: Sequence[Figure]) -> int:
    return _HEAD + len(figures) * _BAR + _FOOT


def _panel(name: str, figures: Sequence[Figure], top: int) -> Iterator[str]:
    axis = Axis(figures)
    said = [f"goal {figure.goal.text}" for figure in figures if figure.goal is not None]
    said += ["logarithmic"] if axis.is_logarithmic else []
    yield _text(_MARGIN, top + 14, f"{name}, {figures[0].unit}", "title")
    yield _text(_WIDTH - _MARGIN, top + 14, "; ".join(said), anchor="end")
    for number, figure in enumerate(figures):
        yield from _bar(figure, axis, top + _HEAD - 12 + number * _BAR)


def _bar(figure: Figure, axis: Axis, top: int) -> Iterator[str]:
    zero, end, kind = axis.zero, axis.at(figure.median), axis.kind(figure)
    yield _text(zero - 8, top + 14, figure.subject, "value", anchor="end")
    yield f'<rect class="{kind}" x="{zero}" y="{top + 3}" width="{end:.1f}" height="{_BAR - 8}" rx="2"/>'
    for value in figure.values:
        yield f'<circle class="dot" cx="{zero + axis.at(value):.1f}" cy="{top + 10}" r="2"/>'
    if (limit := limit_of(figure)) is not None:
        x = zero + axis.at(limit)
        yield f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + _BAR - 2}"/>'
    farthest = max(axis.at(value) for value in figure.values)
    yield _text(zero + max(end, farthest) + 6, top + 14, short(figure.median), "value")


def _is_own(figure: Figure) -> bool:
    return figure.subject.startswith("sluice")


def _text(x: float, y: int, text: str, kind: str = "", *, anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
