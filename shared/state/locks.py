"""Model slots: `lock:model:{modelId}:{tier}`, a sorted set of holders by lease expiry.

Taken by `claim_task`, renewed by `renew_lease`, given back by its holder only. A holder whose lease has
lapsed does not count: capacity is limit minus live holders, so a killed worker's slot comes back by itself
(D1, D2, D5).
"""

from __future__ import annotations

from shared.routing import Model, Tier
from shared.state import keys
from shared.state.store import Store, clock_ms


def live_holders(store: Store, model: Model, tier: Tier) -> int:
    """Count the holders whose lease has not lapsed, on Redis's clock."""
    now_ms = clock_ms(store.command("TIME"))
    return int(store.command("ZCOUNT", keys.slots(model, tier), f"({now_ms}", "+inf"))
