"""All sections of trials, in the order in which the page tells them."""

from __future__ import annotations

from devstack.reliability import broker, kills, losses, provider, redis_faults, waiting
from devstack.reliability.trials import Section

SECTIONS: tuple[Section, ...] = (
    kills.SECTION,
    broker.SECTION,
    waiting.SECTION,
    provider.SECTION,
    redis_faults.SECTION,
    losses.SECTION,
)
