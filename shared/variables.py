"""Reading variables of an environment one by one, collecting what is wrong with them.

A function's first start names all that is missing or malformed, not the first of it. No problem's text holds
the value of a variable that may be a secret. Which variables there are, `shared.config` knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from shared.errors import ConfigError

MAXIMUM = 1e9
"""What no number may exceed: 30 years in seconds, and its milliseconds still fit Redis's integers."""
_HTTP = ("http", "https")


_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")


class Variables:
    """One environment while it is read. An empty or blank variable counts as one that is not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def raise_problems(self) -> None:
        """Raise ConfigError naming every problem found so far; return when there is none."""
        if self.problems:
            raise ConfigError("configuration: " + "; ".join(dict.fromkeys(self.problems)))

    def optional(self, name: str) -> str | None:
        value = self._environ.get(name, "").strip()
        try:
            value.encode()
        except UnicodeEncodeError:  # how Python hands over an environment's bytes that are not UTF-8
            self.problems.append(f"{name} is not UTF-8 text")
        return value or None

    def text(self, name: str, default: str | None = None) -> str:
        value = self.optional(name) or default
        if value is None:
            self.problems.append(f"{name} is missing")
        return value or ""

    def secret(self, name: str, *, min_bytes: int = 1) -> str:
        value = self.text(name)
        if value and len(value.encode(errors="replace")) < min_bytes:
            self.problems.append(f"{name} is too short: at least {min_bytes} bytes")
        return value

    def number(self, name: str, default: float, *, zero: bool = False) -> float:
        """Read a number above 0, or from 0 on when `zero` is allowed; fractions are welcome."""
        raw = self.optional(name)
        try:
            value = float(raw) if raw is not None else float(default)
        except ValueError:
            value = math.nan
        if not (0 < value <= MAXIMUM or (zero and value == 0)):
            least = "of at least 0" if zero else "above 0"
            self.problems.append(f"{name} must be a number {least} and at most {MAXIMUM:.0f}, not {raw!r}")
            return float(default)
        return value

    def integer(self, name: str, default: int, *, minimum: int = 1, maximum: int = int(MAXIMUM)) -> int:
        raw = self.optional(name)
        try:
            value = int(raw) if raw is not None else default
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            self.problems.append(f"{name} must be a whole number from {minimum} to {maximum}, not {raw!r}")
            return default
        return value

    def rate(self, name: str, default: str) -> str:
        """Read a number of requests in a time: `300/minute`."""
        value = self.text(name, default)
        if not _RATE.fullmatch(value):
            self.problems.append(
                f"{name} must be like 300/minute (per second, minute, hour, day), not {value!r}"
            )
            return default
        return value

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self.text(name, default)
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
            return default
        return value

    def url(self, name: str, default: str | None = None, *, schemes: Sequence[str] = _HTTP) -> str:
        """Read a URL with one of `schemes`; it may hold a password, so a problem never shows it."""
        value = self.text(name, default)
        if value and not _names_a_place(_split(value), schemes):
            self.problems.append(f"{name} must be a URL with {' or '.join(s + '://' for s in schemes)}")
        return value

    def base_url(self, name: str, default: str | None = None) -> str:
        """Read an HTTP URL that paths are appended to; what QStash signs starts with it, byte for byte."""
        value = self.url(name, default)
        parts = _split(value)
        if value.endswith("/") or "?" in value or "#" in value or (parts and parts.username is not None):
            self.problems.append(f"{name} must be a base URL: no trailing slash, query, fragment or user")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        """Read a comma-separated list of origins as browsers send them, or `*`."""
        origins = tuple(part.strip() for part in (self.optional(name) or "").split(",") if part.strip())
        for origin in origins:
            if origin != "*" and not _is_origin(origin):
                self.problems.append(f"{name} must be origins (scheme://host[:port]), not {origin!r}")
        return origins


def _split(value: str) -> SplitResult | None:
    """Split a URL; None when it is none. Blanks are refused here: `urlsplit` drops some of them silently."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # out of range raises only when asked for
    except ValueError:
        return None
    return None if any(character.isspace() for character in value) else parts


def _names_a_place(parts: SplitResult | None, schemes: Sequence[str]) -> bool:
    if parts is None or parts.scheme not in schemes:
        return False
    return bool(parts.path.strip("/")) if parts.scheme == "file" else bool(parts.hostname)


def _is_origin(origin: str) -> bool:
    parts = _split(origin)
    return (
        _names_a_place(parts, _HTTP)
        and parts is not None
        and origin == f"{parts.scheme}://{parts.netloc.lower()}"
    )
