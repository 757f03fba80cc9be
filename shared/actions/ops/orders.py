"""An operator's orders to the controls, from a form or from JSON, and the Controller that does them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from shared.actions.operators import Operator
from shared.errors import InvalidRequest
from shared.routing import Lane, Model, Tier
from shared.state.controls import Change, Controller

E = TypeVar("E", bound=StrEnum)
SPANS: Mapping[str, float | None] = {
    "15m": 900.0,
    "1h": 3_600.0,
    "4h": 14_400.0,
    "24h": 86_400.0,
    "7d": 604_800.0,
    "": None,
}
"""For how long a control holds; the empty one: until it is cleared."""
SPAN_NAMES = {
    "15m": "15 minutes",
    "1h": "1 hour",
    "4h": "4 hours",
    "24h": "1 day",
    "7d": "7 days",
    "": "until it is cleared",
}


class Order(StrEnum):
    STOP = "stop"
    START = "start"
    PLACES = "places"
    SLOTS = "slots"
    DRAIN = "drain"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class ControlOrder:
    """One order. A limit of None gives the configured one back."""

    order: Order
    lane: Lane | None
    model: Model | None
    tier: Tier | None
    value: int | None
    for_seconds: float | None
    reason: str

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> ControlOrder:
        """Read an order's fields: `order`, and as it needs them `lane`, `pair`, `value`, `for`, `reason`.

        Raises:
            InvalidRequest: one of them is wrong; it is named.
        """
        order = _one_of(Order, fields, "order")
        of_lane = order in {Order.STOP, Order.START, Order.PLACES}
        model, _, tier = str(fields.get("pair") or "").partition(":")
        return cls(
            order=order,
            lane=_one_of(Lane, fields, "lane") if of_lane else None,
            model=_one_of(Model, {"pair": model}, "pair") if order is Order.SLOTS else None,
            tier=_one_of(Tier, {"pair": tier}, "pair") if order is Order.SLOTS else None,
            value=_number(fields) if order in {Order.PLACES, Order.SLOTS} else None,
            for_seconds=_span(fields),
            reason=str(fields.get("reason") or ""),
        )

    def carry_out(self, controller: Controller, by: Operator) -> Change:
        """Do it; raises as the Controller does."""
        clearing = {"by": by.name, "reason": self.reason}
        setting: dict[str, Any] = {**clearing, "for_seconds": self.for_seconds}
        if self.order is Order.DRAIN:
            return controller.drain(**setting)
        if self.order is Order.RESUME:
            return controller.resume(**clearing)
        if self.model and self.tier:
            if self.value is None:
                return controller.clear_slots(self.model, self.tier, **clearing)
            return controller.set_slots(self.model, self.tier, self.value, **setting)
        return self._of_lane(controller, clearing, setting)

    def _of_lane(
        self, controller: Controller, clearing: Mapping[str, str], setting: Mapping[str, Any]
    ) -> Change:
        assert self.lane is not None  # read() has seen to it
        if self.order is Order.STOP:
            return controller.stop(self.lane, **setting)
        if self.order is Order.START:
            return controller.start(self.lane, **clearing)
        if self.value is None:
            return controller.clear_places(self.lane, **clearing)
        return controller.set_places(self.lane, self.value, **setting)


def _one_of(kind: type[E], fields: Mapping[str, Any], name: str) -> E:
    try:
        return kind(str(fields.get(name) or ""))
    except ValueError:
        raise InvalidRequest(f"must be one of {', '.join(kind)}", field=name) from None


def _number(fields: Mapping[str, Any]) -> int | None:
    text = str(fields.get("value") if fields.get("value") is not None else "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidRequest("must be a whole number; empty gives the configured one back", field="value")
    return int(text)


def _span(fields: Mapping[str, Any]) -> float | None:
    text = str(fields.get("for") or "")
    if text not in SPANS:
        raise InvalidRequest(f"must be one of {', '.join(filter(None, SPANS))}, or empty", field="for")
    return SPANS[text]
