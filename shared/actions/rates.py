"""How many requests a user may make: counted in Redis, for all instances of `actions` together.

The strategy is the sliding window counter of the library `limits`; the storage is ours, because the library's
own does not know Upstash's REST, and because counting may cost one script a request, also when it refuses.
There is no fallback to a process's memory: Redis away is StoreUnavailable (D9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.errors import RateLimited, SluiceError
from shared.settings import RateLimits
from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store

_SLIDING_ONLY = "this storage counts in sliding windows, and for one user"


class RequestRates:
    """Counts users' requests, those that only read apart from those that write. Thread-safe."""

    def __init__(self, store: Store, limits: RateLimits) -> None:
        self._store = store
        self._reads, self._writes = parse(limits.reads), parse(limits.writes)

    def count(self, user_id: str, *, writes: bool) -> None:
        """Count one request of a user's.

        Raises:
            RateLimited: it is one too many, and has not been counted; says when one would be.
            StoreUnavailable: it could not be counted.
        """
        limit, kind = (self._writes, "writes") if writes else (self._reads, "reads")
        count(self._store, user_id, kind, limit)


def count(store: Store, who: str, kind: str, limit: RateLimitItem) -> None:
    """Count one request of some kind, by whoever makes it.

    Raises:
        RateLimited: it is one too many, and has not been counted; says when one would be.
        StoreUnavailable: it could not be counted.
    """
    windows = _WindowStorage(store, keys.rate(who, kind))
    if not SlidingWindowCounterRateLimiter(windows).hit(limit):
        raise RateLimited(retry_after_seconds=windows.last.retry_after_seconds(limit))


@dataclass(frozen=True, slots=True)
class Windows:
    """Requests counted in the window before and in this one, which still lasts `left_ms`."""

    before: int
    count: int
    left_ms: int

    def retry_after_seconds(self, limit: RateLimitItem) -> int:
        """Return after how many whole seconds, at least 1, a request will be counted if no other comes."""
        window_ms = limit.get_expiry() * 1000
        weighted, lasts_ms, free = self.before, self.left_ms, limit.amount - self.count
        if free <= 0:  # nothing helps before this window becomes the one before
            weighted, lasts_ms, free = self.count, self.left_ms + window_ms, limit.amount
        # The first whole second at which weighted * (what is left of the window) / window_ms < free.
        return max(1, (weighted * lasts_ms - free * window_ms) // (max(1, weighted) * 1000) + 1)


class _WindowStorage(Storage, SlidingWindowCounterSupport):
    """One request's view of one user's windows; keeps what counting answered, so that nobody asks twice."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self.last = Windows(0, 0, 0)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:  # noqa: ARG002  # the user's key is this storage's own
        answer = self._store.script(
            load_script("count_request"), [self._key, keys.TALLIES], [limit, expiry * 1000, amount]
        )
        counted, before, count, left_ms = map(int, answer)
        self.last = Windows(before, count, left_ms)
        return bool(counted)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:  # noqa: ARG002
        left_seconds = self.last.left_ms / 1000
        return self.last.before, left_seconds, self.last.count, left_seconds + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002
        self._store.command("DEL", self._key)

    @property
    def base_exceptions(self) -> type[Exception]:
        return SluiceError

    def check(self) -> bool:
        return bool(self._store.command("PING") == "PONG")

    # The library asks these of every storage, for strategies that are not ours.

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:  # noqa: ARG002
        raise TypeError(_SLIDING_ONLY)

    def get(self, key: str) -> NoReturn:  # noqa: ARG002
        raise TypeError(_SLIDING_ONLY)

    def get_expiry(self, key: str) -> NoReturn:  # noqa: ARG002
        raise TypeError(_SLIDING_ONLY)

    def reset(self) -> NoReturn:
        raise TypeError(_SLIDING_ONLY)

    def clear(self, key: str) -> NoReturn:  # noqa: ARG002
        raise TypeError(_SLIDING_ONLY)
