"""The socket behind an ASGI `receive`, for two things that ASGI has no word for.

A connection whose reader does not read must be closed without waiting: ending its response waits until the
reader has taken what is buffered, which it may never do. And what the kernel buffers for a reader must be
bounded: left to itself it grows to megabytes for each. Both look up the server's transport (uvicorn's); on a
server without one a slow reader just stays.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SEND_BUFFER_BYTES = 65_536
"""Linux doubles it, for its own book-keeping."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
Receive = Callable[..., object]


def bound_kernel_buffer(receive: Receive) -> None:
    """Bound what the kernel holds of what the reader has not taken."""
    _set_option(_transport(receive), socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def reset(receive: Receive) -> None:
    """Abort the connection, and have the kernel drop what the reader has not taken."""
    transport = _transport(receive)
    _set_option(transport, socket.SO_LINGER, _RESET_ON_CLOSE)
    if transport is not None:
        transport.abort()


def _transport(receive: Receive) -> Any:
    return getattr(getattr(receive, "__self__", None), "transport", None)


def _set_option(transport: Any, option: int, value: int | bytes) -> None:
    # On a duplicate, since what uvloop gives for a socket has no options to set; there may be none any more.
    with (
        suppress(OSError, AttributeError),
        socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same,
    ):
        same.setsockopt(socket.SOL_SOCKET, option, value)
