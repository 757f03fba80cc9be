"""An operator's controls: limits at run time over the configured ones, stopped lanes, and draining.

    slots of a model and tier, places of a lane       another number than the configured one
    stopped lane      deliveries are refused (429, Retry-After) and burn no attempt; admission goes on
    draining          nothing new is admitted (503); what has been admitted goes on, a next step too

They are one JSON text in `queue:rates`, field `controls`, which the transitions read where a limit decides:
guards and producer see a change at the same moment, and whether one still holds is decided on Redis's clock.
Each has who set it, since when, until when and why; each change is a line of the log and of
`controls:changes`, newest first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from shared.config import ConcurrencyConfig
from shared.errors import InvalidRequest
from shared.logs import LogEvent, event
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store, clock_ms

log = logging.getLogger(__name__)

MAX_LIMIT = 10_000
MAX_SECONDS = 90 * 86_400.0
MAX_BY_LENGTH = 64
MAX_REASON_LENGTH = 200
CHANGES_KEPT = 200
_ALL = "all"


class ControlKind(StrEnum):
    SLOTS = "slots"
    PLACES = "places"
    STOPPED = "stopped"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that an operator has set."""

    value: int
    """The limit in force; 1 for a stop and for draining."""
    by: str
    reason: str
    since_ms: int
    until_ms: int | None
    """When it ends by itself; None: when it is cleared."""


@dataclass(frozen=True, slots=True)
class Controls:
    """All that holds at one moment, of Redis's clock."""

    at_ms: int = 0
    slots: Mapping[str, Control] = field(default_factory=lambda: MappingProxyType({}))
    """By `{modelId}:{tier}`, as MODEL_SLOTS names them."""
    places: Mapping[Lane, Control] = field(default_factory=lambda: MappingProxyType({}))
    stopped: Mapping[Lane, Control] = field(default_factory=lambda: MappingProxyType({}))
    draining: Control | None = None

    def slots_limit(self, limits: ConcurrencyConfig, model: Model, tier: Tier) -> int:
        """Return how many attempts may call `model` for `tier` at once: set, or else configured."""
        control = self.slots.get(pair_name(model, tier))
        return control.value if control else limits.slots(model, tier)

    def places_limit(self, limits: ConcurrencyConfig, lane: Lane) -> int:
        """Return how many steps may be in `lane`: set, or else configured."""
        control = self.places.get(lane)
        return control.value if control else limits.places(lane)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a control, as it is remembered."""

    at_ms: int
    kind: ControlKind
    name: str
    """`{modelId}:{tier}`, a lane, or `all`."""
    by: str
    reason: str
    before: Control | None
    after: Control | None


def pair_name(model: Model, tier: Tier) -> str:
    return f"{model}:{tier}"


def read_controls(store: Store) -> Controls:
    """Return what holds now, in one round trip.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    time, text = store.pipeline([("TIME",), ("HGET", keys.QUEUE_RATES, keys.CONTROLS_FIELD)])
    return parse_controls(text, clock_ms(time))


def parse_controls(text: str | None, now_ms: int) -> Controls:
    """Return what of the stored controls holds at `now_ms`."""
    stored: Mapping[str, Mapping[str, Any]] = json.loads(text or "{}")
    held = {
        kind: {
            name: control
            for name, data in stored.get(kind, {}).items()
            if (control := _control(data)).until_ms is None or control.until_ms > now_ms
        }
        for kind in ControlKind
    }
    return Controls(
        at_ms=now_ms,
        slots=MappingProxyType(held[ControlKind.SLOTS]),
        places=MappingProxyType({Lane(name): c for name, c in held[ControlKind.PLACES].items()}),
        stopped=MappingProxyType({Lane(name): c for name, c in held[ControlKind.STOPPED].items()}),
        draining=held[ControlKind.DRAINING].get(_ALL),
    )


def recent_changes(store: Store, at_most: int = CHANGES_KEPT) -> list[Change]:
    """Return the changes that are remembered, newest first."""
    lines = store.command("LRANGE", keys.CONTROL_CHANGES, 0, at_most - 1) if at_most > 0 else []
    return [_change(json.loads(line)) for line in lines]


def most_slots_since(store: Store, model: Model, tier: Tier, since_ms: int) -> int:
    """Return the highest limit that an operator's control of a model's slots set since a moment; 0 for none.

    Attempts that began by it may still run, though it has been lowered, cleared, or has ended by itself.
    """
    most = 0
    for change in recent_changes(store):
        if change.kind is not ControlKind.SLOTS or change.name != pair_name(model, tier):
            continue
        if change.after and (change.after.until_ms is None or change.after.until_ms >= since_ms):
            most = max(most, change.after.value)
        if change.at_ms < since_ms:  # what it set was in force at that moment; what came before it was not
            break
    return most


class Controller:
    """Sets and clears controls; each is one script, so that of two at once one follows the other.

    `by` names the operator; `for_seconds` is how long it holds, None until it is cleared. Every method raises
    InvalidRequest for a value that makes no sense, and StoreUnavailable when Redis did not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def set_slots(
        self, model: Model, tier: Tier, value: int, *, by: str, reason: str, for_seconds: float | None = None
    ) -> Change:
        """Let `value` attempts, at least 1, call `model` for `tier` at once; those that run go on."""
        _check_limit(value, minimum=1)
        return self._set(ControlKind.SLOTS, pair_name(model, tier), value, by, reason, for_seconds)

    def clear_slots(self, model: Model, tier: Tier, *, by: str, reason: str = "") -> Change:
        return self._clear(ControlKind.SLOTS, pair_name(model, tier), by, reason)

    def set_places(
        self, lane: Lane, value: int, *, by: str, reason: str, for_seconds: float | None = None
    ) -> Change:
        """Let `value` steps be in `lane`; with 0 it admits nothing, and what is in it goes on."""
        _check_limit(value, minimum=0)
        return self._set(ControlKind.PLACES, lane, value, by, reason, for_seconds)

    def clear_places(self, lane: Lane, *, by: str, reason: str = "") -> Change:
        return self._clear(ControlKind.PLACES, lane, by, reason)

    def stop(self, lane: Lane, *, by: str, reason: str, for_seconds: float | None = None) -> Change:
        """Let no further attempt begin in `lane`; those that run go on. Its tasks' waiting budget runs on."""
        return self._set(ControlKind.STOPPED, lane, 1, by, reason, for_seconds)

    def start(self, lane: Lane, *, by: str, reason: str = "") -> Change:
        """Let a stopped lane go on: each waiting task with its next delivery, within half a minute or so."""
        return self._clear(ControlKind.STOPPED, lane, by, reason)

    def drain(self, *, by: str, reason: str, for_seconds: float | None = None) -> Change:
        """Admit nothing new."""
        return self._set(ControlKind.DRAINING, _ALL, 1, by, reason, for_seconds)

    def resume(self, *, by: str, reason: str = "") -> Change:
        """Admit again."""
        return self._clear(ControlKind.DRAINING, _ALL, by, reason)

    def _set(
        self, kind: ControlKind, name: str, value: int, by: str, reason: str, for_seconds: float | None
    ) -> Change:
        if not reason.strip():
            raise InvalidRequest("say why", field="reason")
        if for_seconds is not None and not 0 < for_seconds <= MAX_SECONDS:
            raise InvalidRequest(f"must be above 0 and at most {MAX_SECONDS:.0f} seconds", field="for")
        for_ms = None if for_seconds is None else max(1, round(for_seconds * 1000))
        return self._change(kind, name, by, reason, {"value": value, "forMs": for_ms})

    def _clear(self, kind: ControlKind, name: str, by: str, reason: str) -> Change:
        return self._change(kind, name, by, reason, {"value": None, "forMs": None})

    def _change(
        self, kind: ControlKind, name: str, by: str, reason: str, request: Mapping[str, Any]
    ) -> Change:
        by, reason = _one_line(by, "by", MAX_BY_LENGTH), _one_line(reason, "reason", MAX_REASON_LENGTH)
        if not by:
            raise InvalidRequest("say who", field="by")
        named = {"kind": kind, "name": name, "by": by, "reason": reason, "kept": CHANGES_KEPT}
        answer = json.loads(
            self._store.script(
                load_script("change_control"),
                [keys.QUEUE_RATES, keys.CONTROL_CHANGES],
                [json.dumps({**named, **request})],
            )
        )
        change = _change({**answer, **named})
        event(
            log,
            LogEvent.CONTROL_CHANGED,
            control=kind,
            target=name,
            value=change.after.value if change.after else None,
            former=change.before.value if change.before else None,
            until_ms=change.after.until_ms if change.after else None,
            by=by,
            reason=reason or None,
        )
        return change


def _check_limit(value: int, *, minimum: int) -> None:
    if not minimum <= value <= MAX_LIMIT:
        raise InvalidRequest(f"must be from {minimum} to {MAX_LIMIT}, not {value}", field="value")


def _one_line(text: str, name: str, max_length: int) -> str:
    text = " ".join(text.split())
    if len(text) > max_length or not text.isprintable():
        raise InvalidRequest(f"must be printable, and at most {max_length} characters", field=name)
    return text


def _control(data: Mapping[str, Any]) -> Control:
    until = data.get("untilMs")
    return Control(
        value=int(data["value"]),
        by=data["by"],
        reason=data["reason"],
        since_ms=int(data["sinceMs"]),
        until_ms=None if until is None else int(until),
    )


def _change(data: Mapping[str, Any]) -> Change:
    return Change(
        at_ms=int(data["at"]),
        kind=ControlKind(data["kind"]),
        name=data["name"],
        by=data["by"],
        reason=data["reason"],
        before=_control(data["before"]) if data["before"] else None,
        after=_control(data["after"]) if data["after"] else None,
    )
