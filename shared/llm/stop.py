"""The stop button of an attempt: the thread that renews its lease presses it, the one that waits feels it.

A read that waits for a provider cannot be interrupted in Python, and closing a client from another thread
does not wake it. Shutting down the socket underneath does, also before the first byte of an answer.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock


class StopSignal:
    """Says that an attempt must end, and why. Thread-safe; the first reason stays."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._error: Exception | None = None
        self._sockets: list[socket.socket] = []

    @property
    def error(self) -> Exception | None:
        """Why the attempt must end; None while it may go on."""
        return self._error

    def stop(self, error: Exception) -> None:
        """End the attempt with `error`: whoever waits on an attached socket wakes up at once."""
        with self._lock:
            self._error = self._error or error
            for sock in self._sockets:
                _shut_down(sock)

    def attach(self, sock: socket.socket) -> None:
        """Put a socket under the button; one that comes after the press is shut down at once."""
        with self._lock:
            self._sockets.append(sock)
            if self._error is not None:
                _shut_down(sock)

    def raise_if_stopped(self) -> None:
        if self._error is not None:
            raise self._error


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        # The plain socket's method: SSLSocket's own would drop its TLS state under the reader's feet.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
