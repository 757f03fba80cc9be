"""All sections of trials, in the order in which the page tells them."""

from __future__ import annotations

from devstack.reliability import kills, provider, waiting
from devstack.reliability.trials import Section

SECTIONS: tuple[Section, ...] = (kills.SECTION, waiting.SECTION, provider.SECTION)
