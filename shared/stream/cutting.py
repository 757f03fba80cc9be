"""Closing a connection on a reader that does not read.

ASGI has no word for it: ending the response waits until the reader has taken what is buffered, which it may
never do. So the server's transport is looked up behind its `receive` (uvicorn); on a server without one the
response just ends.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(receive: Callable[..., object]) -> None:
    """Abort the connection behind an ASGI `receive`."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        return
    with suppress(OSError):  # it may be closed already
        _reset_on_close(transport.get_extra_info("socket").fileno())
    transport.abort()


def _reset_on_close(descriptor: int) -> None:
    """Have the kernel drop what the reader has not taken; it would keep it as long as the reader is there."""
    # A duplicate, since what uvloop gives for a socket has no options to set.
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
