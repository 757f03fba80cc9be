"""Faults as switches, for tests: attributes in this process, the same names as JSON at `POST /dev/faults`.

A switch is `True` (until it is switched off), `False`, or how many of the next events it spoils. `only`
narrows one to a destination.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Mapping
from typing import Any, Literal

Switch = bool | int
_CHOICES = {"duplicate_mode": ("sequential", "concurrent")}


@dataclasses.dataclass
class Faults:
    duplicate: Switch = False
    """Deliver an attempt twice; the first answer counts."""
    duplicate_mode: Literal["sequential", "concurrent"] = "sequential"
    drop_publish: Switch = False
    """Accept a publish and lose it; its deduplication id stays taken."""
    publish_status: int | Literal["hang"] | None = None
    """Answer a publish with this status, or never."""
    publish_status_times: Switch = True
    publish_status_accepts: bool = False
    """Whether a publish that is answered by `publish_status` was accepted all the same."""
    drop_delivery: Switch = False
    """Lose a delivery on its way: nobody gets it, and it counts as failed."""
    drop_response: Switch = False
    """Lose the answer of a delivery that did arrive: it counts as failed."""
    hold: bool = False
    """Deliver nothing until it is off again."""
    hold_to: str = ""
    """Deliver nothing to a destination in which this pattern is found, until it is empty again."""
    drop_callbacks: Switch = False
    """Never make the callback or failure callback."""
    double_callbacks: Switch = False
    """Deliver a callback or failure callback twice."""
    only: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """For a switch's name, a pattern: it spoils only what goes to a destination in which it is found."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def holds(self, url: str) -> bool:
        """Tell whether what goes to `url` has to wait."""
        return self.hold or (self.hold_to != "" and re.search(self.hold_to, url) is not None)

    def take(self, name: str, url: str = "") -> bool:
        """Tell whether the switch `name` spoils this event, and count it.

        Args:
            name: the attribute.
            url: the destination of the message that it happens to.
        """
        if not re.search(self.only.get(name, ""), url):
            return False
        with self._lock:
            value: Switch = getattr(self, name)
            if value is not True and value > 0:
                setattr(self, name, value - 1)
            return bool(value)

    def take_publish_status(self) -> int | Literal["hang"] | None:
        """Return how this publish is to be answered, None when properly."""
        if self.publish_status is None:
            return None
        status = self.publish_status
        self.take("publish_status_times")
        if self.publish_status_times is not True and self.publish_status_times == 0:
            self.publish_status, self.publish_status_times = None, True
        return status

    def clear(self) -> None:
        """Switch all of them off."""
        for name, value in dataclasses.asdict(Faults()).items():
            setattr(self, name, value)

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several at once.

        Raises:
            ValueError: a name or a value is not known; then nothing has been set.
        """
        known = {field.name for field in dataclasses.fields(self)}
        for name, value in values.items():
            if name not in known or not _valid(name, value):
                raise ValueError(f"no such fault: {name}={value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _valid(name: str, value: object) -> bool:
    if name == "publish_status":
        return value is None or value == "hang" or (type(value) is int and 200 <= value <= 599)
    if name == "hold_to":
        return isinstance(value, str)
    if name == "only":
        return isinstance(value, dict) and all(
            isinstance(word, str) for item in value.items() for word in item
        )
    if name in _CHOICES:
        return value in _CHOICES[name]
    if name in {"hold", "publish_status_accepts"}:
        return isinstance(value, bool)
    return isinstance(value, int) and value >= 0
