"""The stand-in as a context manager: a server in a thread of this process, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from devstack.listening import listen
from devstack.qstash.administration import DevCalls
from devstack.qstash.application import Application
from devstack.qstash.broker import Broker
from devstack.qstash.clock import Clock
from devstack.qstash.deduplication import Deduplicator
from devstack.qstash.delivery import Courier
from devstack.qstash.faults import Faults
from devstack.qstash.message import Json
from devstack.qstash.routes import build_router
from devstack.qstash.schedules import Schedules
from devstack.qstash.signing import DEV_KEYS, DEV_TOKEN, Keyring
from shared.config import SigningKeys

T = TypeVar("T")
START_DEADLINE_SECONDS = 20.0
IDLE_POLL_SECONDS = 0.005


class _Server(uvicorn.Server):
    """A server that says when it is ready, and lets the broker's owner clean up around it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class QStashStandIn:
    """A QStash of its own, on a free port unless `port` says otherwise.

    Args:
        time_scale: what QStash's waits are multiplied by; 0.01 makes 12 s of back-off 0.12 s.
        seed: makes message ids and new keys repeatable.
        max_message_bytes: the plan's limit, 1 MiB as in the free plan.
        deduplication_seconds: the window, in real time.
        rotated: told the new keys after each rotation, for whoever keeps them.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        time_scale: float = 1.0,
        seed: int | None = None,
        token: str = DEV_TOKEN,
        signing_keys: SigningKeys = DEV_KEYS,
        max_message_bytes: int = 1_048_576,
        deduplication_seconds: float = 600.0,
        region: str = "EU-CENTRAL-1",
        rotated: Callable[[SigningKeys], None] | None = None,
    ) -> None:
        self.token = token
        self.faults = Faults()
        self.time_scale = time_scale
        self._rng = random.Random(seed)
        self._keyring = Keyring(signing_keys, self._rng, rotated)
        self._clock = Clock(time_scale)
        self._max_message_bytes = max_message_bytes
        self._deduplication_seconds = deduplication_seconds
        self._region = region
        self._port = port
        self._socket: socket.socket | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """Return the base URL, for `QSTASH_URL`; there is one while the stand-in runs."""
        assert self._socket is not None, "the stand-in is not running"
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def signing_keys(self) -> SigningKeys:
        return self._keyring.keys

    def __enter__(self) -> Self:
        self._socket = listen(self._port)
        self._thread = threading.Thread(target=self._run, name="qstash-stand-in", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_SECONDS) or self._failure is not None:
            raise RuntimeError("the QStash stand-in did not start") from self._failure
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()

    def rotate_signing_keys(self) -> SigningKeys:
        """Make the next key the current one, as `POST /v2/keys/rotate` does."""
        return self._on_loop(self._keyring.rotate)

    def restore_signing_keys(self, keys: SigningKeys) -> None:
        """Sign with the keys of before a rotation again, for tests that share one stand-in."""
        self._on_loop(lambda: self._keyring.restore(keys))

    def state(self) -> Json:
        """Return the counters of `/dev/state`."""
        return self._on_loop(self._dev.snapshot)

    def wait_until_idle(self, deadline_seconds: float = 15.0) -> Json:
        """Return the counters once no message is on its way, callbacks included.

        Raises:
            TimeoutError: some still were when the deadline came.
        """
        deadline = time.monotonic() + deadline_seconds
        while (state := self.state())["open"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"messages are still on their way: {state}")
            time.sleep(IDLE_POLL_SECONDS)
        return state

    def events(self) -> list[Json]:
        """Return the log, newest first."""
        return self._on_loop(self._broker.journal.events)

    def _on_loop(self, call: Callable[[], T]) -> T:
        async def run() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # told to whoever waits for the start
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        deduplicator = Deduplicator(self._deduplication_seconds)
        async with (
            Courier(self._keyring, self._region, self._max_message_bytes) as courier,
            Broker(
                courier, self._clock, self.faults, rng=self._rng, deduplicator=deduplicator
            ) as self._broker,
            Schedules(self._broker) as schedules,
        ):
            self._dev = DevCalls(self._broker, schedules, self.faults)
            router = build_router(
                self._broker,
                schedules,
                self._keyring,
                self._dev,
                rng=self._rng,
                max_message_bytes=self._max_message_bytes,
            )
            self._application = Application(router, self.faults, self.token)
            self._server = _Server(_server_config(self._application), self._ready.set)
            assert self._socket is not None
            await self._server.serve(sockets=[self._socket])

    def _stop(self) -> None:
        self._application.stopping.set()
        self._server.should_exit = True


def _server_config(application: Application) -> uvicorn.Config:
    app: Any = application  # uvicorn's own type of an ASGI application is narrower than the protocol
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
