"""Colours and marks of the demo on a terminal.

Colours are of the middle of the scale, to be read on light and on dark backgrounds alike; each state and mood
has a mark of its own beside its colour, for those who see no colours or switched them off.
"""

from __future__ import annotations

from rich.theme import Theme

from devstack.demo.board import Mood
from shared.routing import Lane

GOOD, HURT, WAIT, BUSY, SOFT = "green", "red", "dark_orange3", "dodger_blue2", "grey50"
LANES = {
    Lane.PAID_STREAM: "dodger_blue2",
    Lane.FREE_STREAM: "dark_cyan",
    Lane.PAID_BATCH: "medium_purple3",
    Lane.FREE_BATCH: "hot_pink3",
    Lane.PAID_VISION: "dark_orange3",
}
STATES = {
    "accepted": ("·", SOFT),
    "queued": ("◌", WAIT),
    "waiting": ("◌", WAIT),
    "retrying": ("↻", WAIT),
    "running": ("▶", BUSY),
    "done": ("✓", GOOD),
    "error": ("✗", HURT),
    "cancelled": ("✗", HURT),
    "refused": ("‖", HURT),
}
"""A mark and its colour for each state of a task, as its reader knows it."""
MOODS = {
    Mood.CHAPTER: ("▸", "bold"),
    Mood.STEP: ("·", ""),
    Mood.HURT: ("✗", HURT),
    Mood.WAIT: ("◌", WAIT),
    Mood.GOOD: ("✓", GOOD),
}
FULL, EMPTY = "■", "□"
TAKEN, FREE = "●", "○"
THEME = Theme(
    {
        "markdown.h1": "bold",
        "markdown.h2": f"bold {BUSY}",
        "markdown.h3": "bold",
        "markdown.code": "italic",
        "markdown.item.bullet": SOFT,
        "markdown.item.number": SOFT,
        "markdown.link": "underline",
        "markdown.block_quote": "italic",
    }
)
"""What rich renders Markdown with: its own has yellow and black, which only some backgrounds bear."""
