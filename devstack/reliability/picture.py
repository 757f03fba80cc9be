"""The page's picture: every measured time as a dot, against the lease, one strip for each trial.

It is an SVG of our own with the colours of the dev page, readable on a light and on a dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from devstack.reliability.results import Results, Times

_WIDTH, _MARGIN, _STRIP, _HEAD, _AXIS, _GAP = 760, 16, 44, 52, 30, 18
_PLOT = _WIDTH - 2 * _MARGIN
_ROWS_OF_DOTS = 5
_STYLE = """<style>
  svg {
    --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --ground: #ffffff; --accent: #0b6bcb; --bad: #c22f3d;
  }
  @media (prefers-color-scheme: dark) {
    svg {
      --ink: #e8eaed; --soft: #9ba1a9; --line: #32363c; --ground: #1c1f24; --accent: #6cb2f7; --bad: #f2777f;
    }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: var(--soft); }
  .ground { fill: var(--ground); stroke: var(--line); }
  .title { font-size: 15px; font-weight: 600; fill: var(--ink); }
  .row { fill: var(--ink); paint-order: stroke; stroke: var(--ground); stroke-width: 4px; }
  .line { stroke: var(--line); }
  .mark { stroke: var(--bad); stroke-dasharray: 4 3; }
  .marked { fill: var(--bad); }
  .dot { fill: var(--accent); fill-opacity: .35; }
  .quantile { stroke: var(--accent); stroke-width: 2; }
</style>"""


@dataclass(frozen=True, slots=True)
class _Strip:
    label: str
    times: Times
    lease_ms: float


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    mark_at: float
    mark: str
    strips: Sequence[_Strip]

    @property
    def height(self) -> int:
        return _HEAD + len(self.strips) * _STRIP + _AXIS

    @property
    def end(self) -> float:
        """Where the axis ends, in leases: at the next half beyond the mark and the longest time."""
        longest = max(strip.times.samples_ms[-1] / strip.lease_ms for strip in self.strips)
        return math.ceil(max(longest, self.mark_at) * 2 + 0.1) / 2


def draw(results: Results) -> str | None:
    """Return the picture, None when no time was measured."""
    panels = [
        _Panel(
            "From a kill to the start of the next attempt",
            1.0,
            "the lease",
            list(_strips(results, "recovery")),
        ),
        _Panel(
            "From a cancel's answer to the end of the provider's call",
            1 / 3,
            "a renewal: a third of the lease",
            list(_strips(results, "cancel")),
        ),
    ]
    shown = [panel for panel in panels if panel.strips]
    return _svg(shown) if shown else None


def _strips(results: Results, field: str) -> Iterator[_Strip]:
    for section in results.sections:
        for trial in section.trials:
            times: Times | None = getattr(trial, field)
            if times is not None:
                yield _Strip(f"{section.name}: {trial.title}", times, section.lease_seconds * 1000)


def _svg(panels: Sequence[_Panel]) -> str:
    height = 2 * _MARGIN + sum(panel.height for panel in panels) + _GAP * (len(panels) - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape('; '.join(panel.title for panel in panels))}</title>",
        _STYLE,
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    top = _MARGIN
    for panel in panels:
        parts += _panel(panel, top)
        top += panel.height + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: _Panel, top: int) -> Iterator[str]:
    bottom = top + panel.height - _AXIS
    yield _text(_MARGIN, top + 14, panel.title, "title")
    yield _text(_MARGIN, top + 32, "in leases; a dot is one measurement, the bars are p50 and p99")
    for tick in _ticks(panel.end):
        yield _vertical(_x(tick, panel.end), top + _HEAD - 8, bottom, "line")
        yield _text(_x(tick, panel.end), bottom + 16, f"{tick:g}", anchor=_anchor(tick, panel.end))
    mark = _x(panel.mark_at, panel.end)
    yield _vertical(mark, top + _HEAD - 8, bottom + 4, "mark")
    yield _text(mark, bottom + 28, panel.mark, "marked", anchor=_anchor(panel.mark_at, panel.end))
    for number, strip in enumerate(panel.strips):
        yield from _strip(strip, panel.end, top + _HEAD + number * _STRIP)


def _strip(strip: _Strip, end: float, top: int) -> Iterator[str]:
    times = strip.times
    yield _text(_MARGIN, top + 10, _shortened(f"{strip.label} ({len(times.samples_ms)})"), "row")
    for number, sample in enumerate(times.samples_ms):
        y = top + 18 + 4 * (number % _ROWS_OF_DOTS)
        yield f'<circle class="dot" cx="{_x(sample / strip.lease_ms, end):.1f}" cy="{y}" r="3"/>'
    for quantile in (times.p50_ms, times.p99_ms):
        yield _vertical(_x(quantile / strip.lease_ms, end), top + 14, top + 38, "quantile")


def _ticks(end: float) -> Iterable[float]:
    """Return where lines are drawn: ten at most, at round numbers."""
    step = next((step for step in (0.1, 0.25, 0.5, 1.0) if end / step <= 10), math.ceil(end / 10))
    return (step * number for number in range(int(end / step + 1e-9) + 1))


def _x(leases: float, end: float) -> float:
    return _MARGIN + _PLOT * leases / end


def _anchor(leases: float, end: float) -> str:
    """Return where a text is held, so that none at an edge is cut."""
    share = leases / end
    return "start" if share < 0.1 else "end" if share > 0.9 else "middle"


def _text(x: float, y: int, text: str, kind: str = "", *, anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _vertical(x: float, top: int, bottom: int, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _shortened(text: str, limit: int = 110) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
