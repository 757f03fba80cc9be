"""The stand-in as a server: in this process for tests (`LlmStandIn`), or on its own (`serve`)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from devstack.listening import listen
from devstack.llm.app import Provider
from devstack.llm.faults import Fault, FaultKind
from devstack.llm.gauges import Gauges
from devstack.llm.replies import Pace
from devstack.llm.requests import ChatRequest
from devstack.llm.transcript import Transcript
from devstack.serving import AppServer, quiet_server

FILLERS = 4
"""Connections that fill a queue of none: Linux takes one more than it was told, and starts on some others."""


class LlmStandIn(AppServer):
    """A provider on a free port of this machine, in a thread of its own; a context manager.

    Args:
        port: 0 picks a free one.
        first_token_ms: pause before the first token.
        tokens_per_second: of each stream.
    """

    def __init__(
        self, port: int = 0, *, first_token_ms: float = 0.0, tokens_per_second: float = 5_000.0
    ) -> None:
        self._provider = Provider(Pace(first_token_ms, tokens_per_second))
        super().__init__(self._provider.app(), name="llm-stand-in", port=port)

    @property
    def base_url(self) -> str:
        """What a client takes for the provider's base URL."""
        return f"{self.origin}/v1"

    @property
    def pace(self) -> Pace:
        return self._provider.pace

    @property
    def gauges(self) -> Gauges:
        return self._provider.gauges

    @property
    def state(self) -> dict[str, Any]:
        """What `GET /dev/state` answers."""
        return self.gauges.to_json()

    @property
    def requests(self) -> list[ChatRequest]:
        """The latest requests, newest last."""
        return self._provider.requests

    def closed_at(self, about: str) -> float | None:
        """Return when (`time.monotonic`) the latest call that was told these words was closed early."""
        found = [closing.at_seconds for closing in list(self.gauges.closings) if about in closing.prompt]
        return found[-1] if found else None

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Be away for the block: nobody listens at the address, and a connection is refused at once."""
        self.shut()
        try:
            yield
        finally:
            self.reopen()

    @contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Be away for the block: a listener whose queue is full drops who comes, so connecting times out."""
        self.shut()
        try:
            with _full_listener(self.port):
                yield
        finally:
            self.reopen()

    @property
    def transcript(self) -> Transcript:
        """What was said in which call, from when its `on` is set."""
        return self._provider.transcript

    def fail(self, kind: FaultKind | str, **facts: Any) -> None:
        """Make the next call (`times=1`) go wrong; `times=None` goes on until `heal`."""
        self._provider.faults.add(Fault(kind=FaultKind(kind), **facts))

    def heal(self) -> None:
        """Forget all faults still to come."""
        self._provider.faults.clear()


@contextmanager
def _full_listener(port: int) -> Iterator[None]:
    with ExitStack() as open_:
        listener = open_.enter_context(listen(port, backlog=0))
        for _ in range(FILLERS):
            filler = open_.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield


def serve(port: int, pace: Pace) -> None:
    """Serve until the process is told to end."""
    with listen(port) as sock:
        print(f"LLM stand-in: http://127.0.0.1:{sock.getsockname()[1]}/v1", flush=True)
        quiet_server(Provider(pace).app()).run([sock])
