"""Proxies that fail on command: between Sluice and its Redis, and at a function's public address.

`tcp` has the socket, the thread and the network's faults. Towards Redis, `server` takes the orders, `relay`
carries commands and replies, `resp` tells one command from the next, `faults` says what happens to each.
"""

from devstack.proxy.faults import Fault
from devstack.proxy.server import RedisProxy
from devstack.proxy.tcp import Front, WakingFront

__all__ = ["Fault", "Front", "RedisProxy", "WakingFront"]
