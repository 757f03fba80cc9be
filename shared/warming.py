"""A function listens first, and loads what it needs after the web server's fork: in the process that uses it.

    main.py ─▶ configuration checked ─▶ listening ─▶ fork ─▶ a thread: load ─▶ warm ─▶ nothing left to collect
                                                      first request ─────┘ waits for this, not for the rest

What is imported before the fork holds up the start, and stays in the memory of the web server's master, which
never uses it. A thread that is started before the fork could not do it: it would not survive it, and the
locks of the imports under way would stay held in the worker. Where nothing forks, the first request loads.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from shared.errors import ConfigError
from shared.logs import LogEvent, event, set_up_logs
from shared.settings import Env, LogSettings, RedisSettings, TimeSettings

log = logging.getLogger(__name__)
Handler = TypeVar("Handler")
Settings = TypeVar("Settings", bound="Common")
THRESHOLDS = (10_000, 10, 10)
"""Young objects are looked at a few milliseconds' worth at a time; the old ones are what requests left."""


class Common(Protocol):
    """What the settings of every function have."""

    @property
    def env(self) -> Env: ...
    @property
    def logs(self) -> LogSettings: ...
    @property
    def redis(self) -> RedisSettings: ...
    @property
    def time(self) -> TimeSettings: ...


def configured(name: str, load: Callable[[], Settings]) -> Settings:
    """Return a function's settings and set up its logs; a wrong configuration ends the process."""
    try:
        settings = load()
    except ConfigError as error:
        sys.exit(f"{name} does not start: {error}")
    set_up_logs(settings.logs, name)
    event(
        log,
        LogEvent.FUNCTION_STARTED,
        env=settings.env,
        store="tcp" if settings.redis.url else "rest",
        log_level=settings.logs.level,
        lease_seconds=settings.time.lease_seconds,
        worker_timeout_seconds=settings.time.worker_timeout_seconds,
        task_retries=settings.time.task_retries,
    )
    return settings


class Late(Generic[Handler]):
    """A handler that is loaded once in each process, by whoever needs it first."""

    def __init__(
        self,
        load: Callable[[], Handler],
        warm: Callable[[Handler], None] | None = None,
        thresholds: tuple[int, int, int] = THRESHOLDS,
    ) -> None:
        """Have it loaded after each fork.

        Args:
            load: imports and builds the handler; called again if it raises.
            warm: what a first request would otherwise wait for, beyond the handler's being there.
            thresholds: how often the collector looks for garbage from then on.
        """
        self._load = load
        self._warm = warm
        self._thresholds = thresholds
        self._lock = threading.Lock()
        self._handler: Handler | None = None
        os.register_at_fork(after_in_child=self._begin)

    @property
    def loaded(self) -> Handler | None:
        """The handler if it is there."""
        return self._handler

    def get(self) -> Handler:
        """Return the handler; waits while another thread loads it."""
        if self._handler is None:
            with self._lock:
                if self._handler is None:
                    self._handler = self._load()
        return self._handler

    def _begin(self) -> None:
        threading.Thread(target=self._prepare, name="warm", daemon=True).start()

    def _prepare(self) -> None:
        gc.disable()  # imports make objects that stay; each full collection would look at all of them again
        try:
            handler = self.get()
            if self._warm is not None:
                self._warm(handler)
        except Exception as error:  # noqa: BLE001 - told; the first request meets it again
            event(log, LogEvent.WARM_UP_FAILED, error=error, traced=True)
        finally:
            settle(self._thresholds)


def settle(thresholds: tuple[int, int, int] = THRESHOLDS) -> None:
    """Take what is there by now for good: the collector does not look at it again.

    With an LLM library imported, a look at everything holds it up for a tenth of a second. What comes
    later are requests, and a look at what they left takes milliseconds.
    """
    gc.freeze()
    gc.collect()  # of next to nothing; forgets how much there was, by which full collections are put off
    gc.set_threshold(*thresholds)
    gc.enable()
