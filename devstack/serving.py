"""An ASGI application of the dev stack on a port of this machine, in a thread of this process."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

from devstack.listening import listen

STOP_SECONDS = 10.0


def quiet_server(app: Any) -> uvicorn.Server:
    """Return a server that says nothing on the terminal and lets nobody hold up its end."""
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", ws="none", access_log=False, timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


class AppServer:
    """A server in a thread; a context manager. It listens from the start: early clients wait in the socket.

    Args:
        app: the application.
        name: the thread's.
        port: 0 picks a free one.
        listener: listens already, in place of `port`: the port is known before there is an application.
    """

    def __init__(self, app: Any, *, name: str, port: int = 0, listener: socket.socket | None = None) -> None:
        self._app = app
        self._name = name
        self._socket = listener or listen(port)
        self.port: int = self._socket.getsockname()[1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    def shut(self) -> None:
        """End the server, its connections and its listening."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._socket.close()

    def reopen(self) -> None:
        """Serve the same application at the same port again, after `shut`."""
        self._socket = listen(self.port)
        self._serve()

    def _serve(self) -> None:
        self._server = quiet_server(self._app)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=self._name, daemon=True
        )
        self._thread.start()
