"""`python -m bench.growth`: this part alone; with `--pictures` it draws `docs/images/scaling-*.svg` anew."""

from __future__ import annotations

import argparse
import sys

from bench.environment import ROOT
from bench.growth.curves import Curve
from bench.growth.drawing import draw
from bench.growth.measuring import measure_growth
from bench.screen import Screen, terminal
from devstack.interruption import exit_on_termination

IMAGES = ROOT / "docs" / "images"


def main() -> int:
    """Measure, print every curve, and draw them if that is asked for; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds over all sizes (3; each takes about 13 s)"
    )
    parser.add_argument("--pictures", action="store_true", help="write docs/images/scaling-*.svg")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    exit_on_termination()
    console = terminal()
    try:
        with Screen(console, 1) as screen:
            screen.begin("growth")
            curves = measure_growth(screen.show, options.rounds)
    except KeyboardInterrupt:
        return 130
    for curve in curves:
        console.print(told(curve))
    if options.pictures:
        for name, picture in draw(curves).items():
            (IMAGES / f"scaling-{name}.svg").write_text(picture, encoding="utf-8")
            console.print(f"Written: docs/images/scaling-{name}.svg")
    return 0


def told(curve: Curve) -> str:
    """Return a curve as one line: the cost at each size, how it grew, whether that is within its bound."""
    (figure,) = curve.figures()
    costs = ", ".join(f"{size:,}: {curve.median(size):.3g}" for size in curve.sizes)
    met = "met" if figure.is_met else "NOT MET"
    return f"{figure.name} ({curve.unit}): {costs}; × {figure.median:.2f}, {curve.bound} {met}"


if __name__ == "__main__":
    sys.exit(main())
