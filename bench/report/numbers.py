"""How numbers are written, the same in the terminal, on the page and in a plot."""

from __future__ import annotations

from bench.figures import Figure


def short(value: float) -> str:
    """Return three significant digits, thousands with a comma."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def median_and_spread(figure: Figure) -> str:
    """Return "3.1 (2.9–3.4)"; the median alone where all runs gave the same."""
    low, high = (short(value) for value in figure.spread)
    middle = short(figure.median)
    return middle if low == high else f"{middle} ({low}–{high})"


def verdict(figure: Figure) -> str:
    """Return whether the goal is met, in words: colour alone is no answer on a page."""
    return {True: "met", False: "**not met**", None: ""}[figure.is_met]
