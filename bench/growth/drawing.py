"""The curves as pictures: one for each axis, both scales logarithmic, cost relative to the smallest size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bench.growth.curves import Bound, Curve

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 330, 66, 270, 44, 44
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_COLOURS = ("#0b6bcb", "#c2602f", "#2f8f5b", "#8a4fc2", "#c22f6d", "#5f6b7a", "#a08a17", "#1f9aa0")
_STYLE = """<style>
  svg { --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --ground: #ffffff; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e8eaed; --soft: #9ba1a9; --line: #32363c; --ground: #1c1f24; }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: var(--soft); }
  .ground { fill: var(--ground); stroke: var(--line); }
  .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
  .grid { stroke: var(--line); }
  .bound { stroke: var(--soft); stroke-dasharray: 4 3; fill: none; }
  .curve { fill: none; stroke-width: 2; }
</style>"""
NAMES = {
    "places taken in its queue": "places",
    "ended tasks in Redis": "ended",
    "tasks of the user": "deletion",
    "tokens of the answer": "answers",
    "streams at once in a lane": "streams",
}


def draw(curves: Sequence[Curve]) -> dict[str, str]:
    """Return one picture for each axis, by the name of its file."""
    axes = dict.fromkeys(curve.axis for curve in curves)
    return {NAMES[axis]: _picture([c for c in curves if c.axis == axis]) for axis in axes}


class _Scale:
    """Where a size and a relative cost lie."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        sizes = [size for curve in curves for size in curve.sizes]
        costs = [cost for curve in curves for cost in relative(curve).values()]
        bounds = [cost for curve in curves for cost in bound(curve).values()]
        self.first, self.last = min(sizes), max(sizes)
        self.low = min([*costs, 0.5])
        self.high = max([*costs, *bounds, 4.0])

    def x(self, size: float) -> float:
        return _LEFT + _PLOT_WIDTH * math.log(size / self.first) / math.log(self.last / self.first)

    def y(self, cost: float) -> float:
        share = math.log(cost / self.low) / math.log(self.high / self.low)
        return _TOP + _PLOT_HEIGHT * (1 - share)


def relative(curve: Curve) -> Mapping[int, float]:
    """Return the cost at each size over that at the smallest."""
    base = curve.median(curve.sizes[0])
    return {size: curve.median(size) / base for size in curve.sizes}


def bound(curve: Curve) -> Mapping[int, float]:
    """Return the line that the curve is held to, without the room that its ratio has."""
    first = curve.sizes[0]
    if curve.bound is Bound.FLAT:
        return dict.fromkeys(curve.sizes, 1.0)
    base = first * max(1.0, math.log2(first))
    return {size: size * max(1.0, math.log2(size)) / base for size in curve.sizes}


def _picture(curves: Sequence[Curve]) -> str:
    scale = _Scale(curves)
    axis, held = curves[0].axis, curves[0].bound
    title = f"Cost by {axis}, relative to that at {scale.first:,}; dashed: {held}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        _STYLE,
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="8"/>',
        _text(_LEFT, 24, title, "title"),
        *_grid(scale, curves[0].sizes),
        _line(scale, bound(curves[0]), 'class="bound"'),
        *_curves(scale, curves),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(scale: _Scale, sizes: Sequence[int]) -> Iterator[str]:
    step = 10 if scale.high / scale.low > 100 else 2
    for power in range(math.ceil(math.log(scale.low, step)), math.floor(math.log(scale.high, step)) + 1):
        y = scale.y(step**power)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 8, y + 4, f"× {step**power:,}", anchor="end")
    for size in sizes:
        yield _text(scale.x(size), _HEIGHT - 18, f"{size:,}", anchor="middle")


def _curves(scale: _Scale, curves: Sequence[Curve]) -> Iterator[str]:
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = relative(curve)
        yield _line(scale, points, f'class="curve" stroke="{colour}"')
        y = _TOP + 10 + number * 30
        last = curve.sizes[-1]
        yield f'<circle cx="{_WIDTH - _RIGHT + 22}" cy="{y - 4}" r="4" fill="{colour}"/>'
        told = f"× {points[last]:.3g}: {_number(curve.median(last))} {curve.unit}"
        yield _text(_WIDTH - _RIGHT + 34, y, curve.operation, "title")
        yield _text(_WIDTH - _RIGHT + 34, y + 14, told)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(scale: _Scale, points: Mapping[int, float], attributes: str) -> str:
    path = " ".join(f"{scale.x(size):.1f},{scale.y(cost):.1f}" for size, cost in points.items())
    return f'<polyline {attributes} points="{path}"/>'


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
