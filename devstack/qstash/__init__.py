"""A QStash stand-in, written from the public documentation and the official SDK's source.

`standin` is the way in. What happens to a message: `publishing` takes it (`wire`, `instructions`), `broker`
carries it (`attempts`, `flow`, `delivery`, `signing`, `backoff`) and reports each answer (`callbacks`);
what nobody took ends in `dead_letters`.
"""

from devstack.qstash.standin import QStashStandIn

__all__ = ["QStashStandIn"]
