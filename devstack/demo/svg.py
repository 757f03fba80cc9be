"""A terminal's frames as one animated SVG: text that stays text, sharp at any size, no script, no font.

Rows that look the same are drawn once and used wherever they stand. Who asked their system for less motion
gets the last frame, and nothing moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

Row = Sequence[Segment]
Appearance = Literal["dark", "light"]
_CELL_WIDTH, _ROW_HEIGHT, _FONT_SIZE, _MARGIN, _BAR = 8.4, 18, 14, 14, 30
_DARK, _RED, _GREEN, _YELLOW = (38, 38, 42), (204, 62, 68), (46, 143, 83), (176, 124, 20)
_BLUE, _MAGENTA, _CYAN, _BRIGHT = (52, 120, 206), (150, 84, 184), (22, 138, 148), (172, 172, 178)
_ANSI = [_DARK, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _BRIGHT]
_THEMES = {
    "dark": TerminalTheme((24, 26, 31), (214, 217, 222), _ANSI, _ANSI),
    "light": TerminalTheme((252, 252, 250), (36, 38, 43), _ANSI, _ANSI),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands on the terminal, and for how long."""

    rows: Sequence[Row]
    seconds: float


@dataclass(slots=True)
class _Drawing:
    """The rows and styles that have been drawn so far."""

    theme: TerminalTheme
    rows: dict[str, str] = field(default_factory=dict)
    styles: dict[str, str] = field(default_factory=dict)

    def row(self, row: Row) -> str | None:
        """Return the id under which a row is drawn; None for one with nothing to see."""
        drawn = "".join(self._texts(row))
        return self.rows.setdefault(drawn, f"r{len(self.rows)}") if drawn else None

    def _texts(self, row: Row) -> Iterator[str]:
        cell = 0
        for text, style, _ in Segment.simplify(row):
            for run in _runs(text):
                shown = run.strip()
                if shown:
                    at = (cell + cell_len(run) - cell_len(run.lstrip())) * _CELL_WIDTH
                    length = cell_len(shown) * _CELL_WIDTH
                    name, words = self._class(style or Style()), escape(shown, quote=False)
                    yield f'<text class="{name}" x="{at:.1f}" textLength="{length:.1f}">{words}</text>'
                cell += cell_len(run)

    def _class(self, style: Style) -> str:
        css = f"fill:{_hex(style.color, self.theme)}"
        css += ";font-weight:bold" if style.bold else ""
        css += ";font-style:italic" if style.italic else ""
        css += ";text-decoration:underline" if style.underline else ""
        css += ";opacity:.7" if style.dim else ""
        return self.styles.setdefault(css, f"s{len(self.styles)}")


def draw(frames: Sequence[Frame], *, columns: int, rows: int, title: str, appearance: Appearance) -> str:
    """Return the SVG of these frames, one after the other, over and over."""
    drawing = _Drawing(_THEMES[appearance])
    groups = [_group(number, frame, drawing) for number, frame in enumerate(frames)]
    width = columns * _CELL_WIDTH + 2 * _MARGIN
    height = rows * _ROW_HEIGHT + _BAR + _MARGIN
    defs = "".join(f'<g id="{name}">{drawn}</g>' for drawn, name in drawing.rows.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{_css(frames, drawing)}</style><defs>{defs}</defs>"
        f"{_window(width, height, title, drawing.theme)}"
        f'<g transform="translate({_MARGIN},{_BAR + _FONT_SIZE})">{"".join(groups)}</g></svg>\n'
    )


def _runs(text: str) -> Iterator[str]:
    """Yield the text in runs of letters of one width: only those can be spread evenly over their cells."""
    for _, run in itertools.groupby(text, key=cell_len):
        yield "".join(run)


def _group(number: int, frame: Frame, drawing: _Drawing) -> str:
    uses = (
        f'<use href="#{name}" y="{line * _ROW_HEIGHT}"/>'
        for line, row in enumerate(frame.rows)
        if (name := drawing.row(row))
    )
    return f'<g class="f" id="f{number}">{"".join(uses)}</g>'


def _window(width: float, height: int, title: str, theme: TerminalTheme) -> str:
    soft = "#8a8f98"
    dots = "".join(
        f'<circle cx="{22 + n * 18}" cy="17" r="5.5" fill="{soft}" opacity=".45"/>' for n in range(3)
    )
    return (
        f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1}" rx="10" '
        f'fill="{theme.background_color.hex}" stroke="{soft}" stroke-opacity=".4"/>{dots}'
        f'<text x="{width / 2:.0f}" y="21" text-anchor="middle" fill="{soft}">{escape(title)}</text>'
    )


def _css(frames: Sequence[Frame], drawing: _Drawing) -> str:
    total = sum(frame.seconds for frame in frames)
    fonts = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace"
    rules = [
        f"text{{font-family:{fonts};font-size:{_FONT_SIZE}px;white-space:pre}}",
        f".f{{visibility:hidden;animation:{total:.2f}s step-end infinite}}",
        f"@media(prefers-reduced-motion){{.f{{animation:none}}#f{len(frames) - 1}{{visibility:visible}}}}",
        *(f".{name}{{{css}}}" for css, name in drawing.styles.items()),
    ]
    began = 0.0
    for number, frame in enumerate(frames):
        rules.append(_keyframes(number, 100 * began / total, 100 * (began + frame.seconds) / total))
        began += frame.seconds
    return "".join(rules)


def _keyframes(number: int, begin: float, end: float) -> str:
    hidden, shown = "visibility:hidden", "visibility:visible"
    steps = f"0%{{{hidden}}}" if begin > 0 else ""
    steps += f"{begin:.3f}%{{{shown}}}"
    steps += f"{end:.3f}%,100%{{{hidden}}}" if end < 100 else f"100%{{{shown}}}"
    return f"#f{number}{{animation-name:k{number}}}@keyframes k{number}{{{steps}}}"


def _hex(colour: Color | None, theme: TerminalTheme) -> str:
    if colour is None or colour.is_default:
        return theme.foreground_color.hex
    return colour.get_truecolor(theme).hex
