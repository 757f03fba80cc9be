"""Redis behind one small interface: a command, a pipeline, a script, each one round trip.

    TcpStore    redis-py over `redis://`, `rediss://` or `unix://`
    RestStore   Upstash's REST protocol over HTTPS, for platforms that cannot hold a TCP connection

Both answer in the shapes of RESP2 (str, int, None, lists), without any client's own conversions, so that a
caller cannot tell them apart. Both are thread-safe, connect at the first call, and give up in seconds: a
store that does not answer is StoreUnavailable, never a weaker guarantee (D9). A connection that broke is
tried once more at once, because a pooled one may have gone stale; so anything sent here may be executed
twice, and all our scripts and explicit-id XADDs allow for it. A time-out is not tried again: the caller's own
deadline is running.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from shared.config import RedisSettings
from shared.errors import ConfigError, SluiceError, StoreUnavailable

Arg = str | int | float | bytes
CONNECT_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 5.0

_UNAVAILABLE = re.compile(
    r"(LOADING|READONLY|OOM|BUSY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM)\b"
    r"|max .*limit exceeded"  # Upstash: the plan's requests or bandwidth are used up
)


class CommandRefused(SluiceError):
    """Redis refused the command; the text is Redis's own, without the general code `ERR`."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 under which Redis remembers it."""

    name: str
    source: str = field(repr=False)
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


class Store(Protocol):
    def command(self, *args: Arg) -> Any:
        """Run one command.

        Raises:
            CommandRefused: Redis answered an error.
            StoreUnavailable: no answer, or one that says that Redis cannot work now.
        """

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Run all commands in one round trip, not atomically; raises for the first that failed."""

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a Lua script atomically."""

    def close(self) -> None:
        """Close idle connections; the store opens new ones if it is used again."""


def open_store(settings: RedisSettings) -> Store:
    """Return the store that the settings name; nothing is connected yet."""
    if settings.url:
        return TcpStore(settings.url)
    if settings.rest_url and settings.rest_token:
        return RestStore(settings.rest_url, settings.rest_token)
    raise ConfigError("configuration: neither REDIS_URL nor the UPSTASH_REDIS_REST pair is set")


def _encode(arg: Arg) -> bytes:
    if isinstance(arg, bytes):
        arg.decode()  # the REST protocol carries text only; refuse elsewhere what would fail there
        return arg
    if isinstance(arg, bool) or not isinstance(arg, str | int | float):
        raise TypeError(f"Redis takes text, numbers and bytes, not {type(arg).__name__}")
    return str(arg).encode()


def clock_ms(time_reply: Sequence[str]) -> int:
    """Return what Redis answered to TIME, in ms since the epoch: the clock of every lease and deadline."""
    seconds, micros = time_reply
    return int(seconds) * 1000 + int(micros) // 1000


def refusal_text(text: str) -> str:
    """Return what Redis refused, without the arguments that it quotes: they may be a user's text."""
    return text.removeprefix("ERR ").partition(", with args beginning with")[0]


def _raise_refusal(text: str, cause: Exception | None = None) -> NoReturn:
    text = refusal_text(text)
    if _UNAVAILABLE.match(text):
        raise StoreUnavailable(f"Redis cannot work now: {text}") from cause
    raise CommandRefused(text) from cause


def raise_answered(error: Exception) -> NoReturn:
    """Raise what an error that Redis answered, as redis-py tells it, means to us."""
    code = getattr(error, "status_code", None)
    _raise_refusal(f"{code} {error}" if code else str(error), error)


class TcpStore:
    """Redis over its own protocol."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as BrokenConnection
        from redis.retry import Retry

        self._redis: Any = Redis.from_url(
            url,
            protocol=2,
            decode_responses=True,
            driver_info=None,  # saves a fresh connection two round trips
            socket_connect_timeout=connect_timeout_seconds,
            socket_timeout=answer_timeout_seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 1, supported_errors=(BrokenConnection,)),
        )
        self._redis.response_callbacks.clear()  # HGETALL stays a list, as over REST

    def command(self, *args: Arg) -> Any:
        encoded = [_encode(arg) for arg in args]
        return self._guarded(lambda: self._redis.execute_command(*encoded))

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        if not commands:
            return []
        encoded = [[_encode(arg) for arg in command] for command in commands]
        replies: list[Any] = self._guarded(lambda: self._pipelined(encoded))
        return replies

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        from redis.exceptions import NoScriptError

        encoded = [_encode(arg) for arg in (len(keys), *keys, *args)]

        def run() -> Any:
            try:
                return self._redis.execute_command("EVALSHA", script.sha1, *encoded)
            except NoScriptError:  # Redis was restarted or flushed; EVAL loads it again
                return self._redis.execute_command("EVAL", script.source, *encoded)

        return self._guarded(run)

    def close(self) -> None:
        self._redis.close()

    def _pipelined(self, commands: list[list[bytes]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    @staticmethod
    def _guarded(call: Callable[[], Any]) -> Any:
        from redis import exceptions

        try:
            return call()
        except exceptions.ResponseError as error:
            raise_answered(error)
        except exceptions.RedisError as error:
            raise StoreUnavailable(f"Redis: {error}") from error


class RestStore:
    """Redis over Upstash's REST protocol.

    Headers and decoding are the `upstash-redis` package's; its transport is not used, because it has no
    time-out at all, sends everything again after three seconds of sleep, shares one mutable dictionary of
    headers between threads and turns a refused token into an AttributeError (version 1.8.0). The sync token,
    which makes a replica wait for our own writes, is kept for each thread: another thread's older one would
    undo it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> None:
        import httpx
        from upstash_redis.http import make_headers

        self._http = httpx.Client(
            base_url=url,
            headers=make_headers(token, "base64", allow_telemetry=False),
            timeout=httpx.Timeout(answer_timeout_seconds, connect=connect_timeout_seconds),
            trust_env=False,
        )
        self._latest = threading.local()

    def command(self, *args: Arg) -> Any:
        return self._result(self._post("/", [_text(arg) for arg in args]))

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        if not commands:
            return []
        replies = self._post("/pipeline", [[_text(arg) for arg in command] for command in commands])
        if isinstance(replies, list) and len(replies) == len(commands):
            return [self._result(reply) for reply in replies]
        self._result(replies)  # raises when the whole pipeline was refused
        raise StoreUnavailable("Redis over REST answered something else than one result for each command")

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        # Never EVALSHA: it may reach a replica that has not seen the script. The flag spares everyone else
        # Upstash's lock on the whole database; our scripts name all their keys.
        source = f"#!lua flags=allow-key-locking\n{script.source}"
        return self.command("EVAL", source, len(keys), *keys, *args)

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, body: Any) -> Any:
        import httpx

        try:
            response = self._post_twice(path, body)
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"Redis over REST: {type(error).__name__}: {error}") from error
        self._latest.token = response.headers.get("Upstash-Sync-Token", "")
        if response.status_code not in {200, 400}:
            raise StoreUnavailable(f"Redis over REST answered {response.status_code}")
        try:
            return response.json()
        except ValueError as error:
            raise StoreUnavailable("Redis over REST answered something that is not JSON") from error

    def _post_twice(self, path: str, body: Any) -> Any:
        import httpx

        headers = {"Upstash-Sync-Token": getattr(self._latest, "token", "")}
        try:
            return self._http.post(path, json=body, headers=headers)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return self._http.post(path, json=body, headers=headers)

    @staticmethod
    def _result(reply: Any) -> Any:
        from upstash_redis.errors import UpstashError
        from upstash_redis.http import decode

        if not isinstance(reply, dict) or not reply.keys() & {"result", "error"}:
            raise StoreUnavailable("Redis over REST answered neither a result nor an error")
        if reply.get("error"):
            _raise_refusal(str(reply["error"]))
        try:
            return decode(reply["result"])
        except (UpstashError, ValueError) as error:
            raise StoreUnavailable("Redis over REST answered a result that is not base64") from error


def _text(arg: Arg) -> str:
    return _encode(arg).decode()
