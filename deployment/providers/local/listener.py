"""An ASGI application at a port of 127.0.0.1, served on the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from deployment.errors import ProviderError

BACKLOG = 1024
GRACE_SECONDS = 1


class PortTaken(ProviderError):
    """Another program listens where a function's address leads."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the one whose loop it runs on."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """Listens from its making on: who comes before it serves waits in the socket."""

    def __init__(self, app: Any, port: int = 0) -> None:
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_level="critical",
            lifespan="off",
            ws="none",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def close(self) -> None:
        """End it with all of its connections."""
        self._server.should_exit = True
        await self._task
        self._socket.close()


def _listen(port: int) -> socket.socket:
    # The protocol must be named: only then does asyncio set TCP_NODELAY, without which a piece waits for the
    # acknowledgement of the one before, 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(f"port {port} of 127.0.0.1 cannot be listened on: {error.strerror}") from error
    return listener


def port_is_free(port: int) -> bool:
    """Tell whether nobody listens at a port of 127.0.0.1 now."""
    try:
        _listen(port).close()
    except PortTaken:
        return False
    return True
