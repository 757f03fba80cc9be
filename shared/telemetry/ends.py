"""Counts the tasks that this process ended: one of the paid tier costs, and is refunded unless it is done."""

from __future__ import annotations

from shared.routing import Tier
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.signals import signals


def task_done(tier: Tier) -> None:
    """Count a task whose last step is done."""
    _count({Attribute.STATE: "done"}, tier, refunded=False)


def task_failed(code: str, tier: Tier) -> None:
    """Count a task that an error ended, by its public code."""
    _count({Attribute.STATE: "failed", Attribute.ERROR: code}, tier, refunded=tier is Tier.PAID)


def task_cancelled(tier: Tier) -> None:
    """Count a task that its user ended."""
    _count({Attribute.STATE: "cancelled"}, tier, refunded=tier is Tier.PAID)


def _count(end: dict[Attribute, str], tier: Tier, *, refunded: bool) -> None:
    signals().add(instruments.ENDED, attributes={**end, Attribute.TIER: tier})
    if refunded:
        signals().add(instruments.REFUNDS, attributes=end)
