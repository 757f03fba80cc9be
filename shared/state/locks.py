"""Model slots: `lock:model:{modelId}:{tier}`, a sorted set of holders by lease expiry.

Taken by `claim_task`, renewed by `renew_lease`, given back by its holder only. A holder whose lease has
lapsed does not count: capacity is limit minus live holders, so a killed worker's slot comes back by itself
(D1, D2, D5).
"""

from __future__ import annotations

from shared.routing import ROUTES, Model, Tier
from shared.state import keys
from shared.state.store import Store, clock_ms


def live_holders(store: Store, model: Model, tier: Tier) -> int:
    """Count the holders whose lease has not lapsed, on Redis's clock."""
    now_ms = clock_ms(store.command("TIME"))
    return int(store.command("ZCOUNT", keys.slots(model, tier), f"({now_ms}", "+inf"))


def drop_lapsed(store: Store) -> int:
    """Drop the holders whose lease has lapsed, and return how many; they did not count before either.

    One that is renewed meanwhile has a later expiry, and stays.
    """
    now_ms = clock_ms(store.command("TIME"))
    pairs = sorted({(route.model, tier) for (_, tier), route in ROUTES.items()})
    dropped = store.pipeline([("ZREMRANGEBYSCORE", keys.slots(*pair), "-inf", now_ms) for pair in pairs])
    return sum(map(int, dropped))
