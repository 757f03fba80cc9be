"""A proxy between Sluice and its Redis that fails on command: cuts, holds, delays and lies.

`server` is the way in. It relays connections (`relay`), knows just enough of RESP to tell one command from
the next (`resp`), and asks `faults` what is to happen to each.
"""

from devstack.proxy.faults import Fault
from devstack.proxy.server import RedisProxy

__all__ = ["Fault", "RedisProxy"]
