"""A thread beside the one that opened it: it looks at something again and again while its context is open."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

JOIN_SECONDS = 10.0
"""How long the end of a look that is under way is waited for."""


class SamplingThread:
    """Runs `sample` from the context's beginning; `over` is set at its end."""

    def __init__(self, name: str) -> None:
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.sample, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._thread.join(timeout=JOIN_SECONDS)

    def sample(self) -> None:
        """Look until `over` is set."""
        raise NotImplementedError
