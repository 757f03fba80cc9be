"""The listening socket of a stand-in: open before its server starts, so that early clients wait in it."""

from __future__ import annotations

import socket

BACKLOG = 1024


def listen(port: int, backlog: int = BACKLOG) -> socket.socket:
    """Listen on a port of 127.0.0.1; 0 picks a free one.

    The protocol must be named: only then does asyncio set TCP_NODELAY. Without it each answer that is written
    as head and body waits 40 ms for the client's delayed acknowledgement.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
