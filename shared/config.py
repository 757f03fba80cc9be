"""The configuration: the only module that reads the environment, and the one source of limits.

Each function loads what it holds and nothing else (`load_lane`, `load_actions`, `load_events`), once, at import: a
missing or malformed variable raises ConfigError that names it, and the function does not start. Settings are frozen.
Durations are floats in seconds (fractions welcome in tests); what travels to Redis is converted at that edge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.routing import ROUTES, Lane, Model, Provider, Tier, models_of

PUBLIC_DEV_KEYS = frozenset(
    {
        # Printed in QStash's documentation for its development server: whoever holds them signs what they like.
        "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
        "sig_7GVPjvuwsfqF65iC8fSrs1dfYruM", "sig_5NoELc3EFnZn4DVS5bDs2Nk4b7Ua",
        "sig_6jWGaWRxHsw4vMSPJprXadyvrybF", "sig_7qHbvhmahe5GwfePDiS5Lg3pi6Qx",
        "sig_5T8FcSsynBjn9mMLBsXhpacRovJf", "sig_7GFR4YaDshFcqsxWRZpRB161jguD",
    }
)  # fmt: skip
FREE_QUEUE_CAP = 20


class Env(StrEnum):
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach Redis: `url` (TCP), or the REST pair. Exactly one of them is set."""

    url: str | None
    rest_url: str | None = None
    rest_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    current: str = field(repr=False)
    next: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class QStashSettings:
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How users' tokens are checked: a shared secret (HS256) or a JWKS URL (RS256, ES256)."""

    secret: str | None = field(repr=False)
    jwks_url: str | None
    issuer: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class ConcurrencyConfig:
    """Every limit there is, for guards and producer alike."""

    deepseek_max_workers: int
    glm_max_workers: int
    model_slots: Mapping[str, int]
    queue_max_size: int
    queue_max: Mapping[Lane, int]
    user_max_active: int

    def slots(self, model: Model, tier: Tier) -> int:
        """Return how many attempts may call `model` for `tier` at once."""
        default = self.deepseek_max_workers if model.provider is Provider.DEEPSEEK else self.glm_max_workers
        return self.model_slots.get(f"{model}:{tier}", default)

    def places(self, lane: Lane) -> int:
        """Return how many task steps may be queued or running in `lane`."""
        default = min(self.queue_max_size, FREE_QUEUE_CAP) if lane.tier is Tier.FREE else self.queue_max_size
        return self.queue_max.get(lane, default)


@dataclass(frozen=True, slots=True)
class TimeSettings:
    lease_seconds: float
    worker_timeout_seconds: float
    max_wait_seconds_stream: float
    max_wait_seconds_batch: float
    task_retries: int
    sweep_minutes: float
    task_ttl_seconds: float

    def max_wait_seconds(self, *, streams: bool) -> float:
        return self.max_wait_seconds_stream if streams else self.max_wait_seconds_batch

    @property
    def step_max_seconds(self) -> float:
        """The longest that one step can live: its waiting budget and all its attempts, each outlived by its lease."""
        waiting = max(self.max_wait_seconds_stream, self.max_wait_seconds_batch)
        return waiting + (self.task_retries + 1) * (self.worker_timeout_seconds + self.lease_seconds)

    @property
    def place_max_age_seconds(self) -> float:
        """When a queue place is surely nobody's: a task has two steps at most, and reserves both at admission."""
        return 2 * self.step_max_seconds + 60


@dataclass(frozen=True, slots=True)
class StreamSettings:
    flush_interval_ms: float
    flush_size: int
    ttl_seconds: float
    maxlen: int
    heartbeat_seconds: float
    max_connection_seconds: float


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """All that one lane's function holds."""

    lane: Lane
    env: Env
    redis: RedisSettings
    signing_keys: SigningKeys
    route_url: str
    providers: Mapping[Provider, ProviderSettings]
    blob_url: str | None
    concurrency: ConcurrencyConfig
    time: TimeSettings
    stream: StreamSettings


@dataclass(frozen=True, slots=True)
class ActionsSettings:
    """All that `actions` holds; no LLM key."""

    env: Env
    redis: RedisSettings
    signing_keys: SigningKeys
    qstash: QStashSettings
    auth: AuthSettings
    stream_token_secret: str = field(repr=False)
    stream_token_ttl_seconds: float
    allowed_origins: tuple[str, ...]
    blob_url: str
    actions_url: str
    events_url: str
    lane_urls: Mapping[Lane, str]
    initial_quota: int
    concurrency: ConcurrencyConfig
    time: TimeSettings
    stream: StreamSettings


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """All that the SSE bridge holds."""

    env: Env
    redis: RedisSettings
    stream_token_secret: str = field(repr=False)
    allowed_origins: tuple[str, ...]
    time: TimeSettings
    stream: StreamSettings


class Variables:
    """Reads variables one by one and collects what is wrong, so that a function's first start names all of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def raise_problems(self) -> None:
        if self.problems:
            raise ConfigError("configuration: " + "; ".join(self.problems))

    def optional(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def text(self, name: str, default: str | None = None) -> str:
        value = self.optional(name) or default
        if value is None:
            self.problems.append(f"{name} is missing")
        return value or ""

    def secret(self, name: str, *, min_bytes: int = 1) -> str:
        value = self.text(name)
        if value and len(value.encode()) < min_bytes:
            self.problems.append(f"{name} is too short: at least {min_bytes} bytes")
        return value

    def number(self, name: str, default: float, *, minimum: float = 0.0, exclusive: bool = True) -> float:
        raw = self.optional(name)
        try:
            value = float(raw) if raw is not None else float(default)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < minimum or (exclusive and value == minimum):
            bound = "above" if exclusive else "at least"
            self.problems.append(f"{name} must be a number {bound} {minimum:g}, not {raw!r}")
            return float(default)
        return value

    def integer(self, name: str, default: int, *, minimum: int = 1) -> int:
        raw = self.optional(name)
        try:
            value = int(raw) if raw is not None else default
        except ValueError:
            value = minimum - 1
        if value < minimum:
            self.problems.append(f"{name} must be a whole number of at least {minimum}, not {raw!r}")
            return default
        return value

    def url(self, name: str, default: str | None = None, *, schemes: tuple[str, ...] = ("http", "https")) -> str:
        value = self.text(name, default)
        if value:
            self._check_url(name, value, schemes)
        return value

    def _check_url(self, name: str, value: str, schemes: tuple[str, ...]) -> None:
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            self.problems.append(f"{name} is not a URL")
            return
        if parts.scheme not in schemes or not (host or parts.scheme == "file"):
            self.problems.append(f"{name} must be a URL with {' or '.join(s + '://' for s in schemes)}")
        elif schemes == ("http", "https") and (value.endswith("/") or parts.query or parts.fragment):
            self.problems.append(f"{name} must be a base URL: no trailing slash, no query, no fragment")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
            return default
        return value


def get_concurrency_config(environ: Mapping[str, str] | None = None) -> ConcurrencyConfig:
    """Return every limit there is, from `environ` (the process's by default).

    Raises:
        ConfigError: a variable is malformed; the message names it.
    """
    v = Variables(_environ(environ))
    concurrency = _concurrency(v)
    v.raise_problems()
    return concurrency


def load_lane(lane: Lane, environ: Mapping[str, str] | None = None) -> LaneSettings:
    """Load what `lane`'s function holds.

    Raises:
        ConfigError: a variable is missing or malformed; the message names each.
    """
    v = Variables(_environ(environ))
    env = _env(v)
    providers = sorted({model.provider for model in models_of(lane)})
    settings = LaneSettings(
        lane=lane,
        env=env,
        redis=_redis(v, tcp_only=False),
        signing_keys=_signing_keys(v, env),
        route_url=v.url("ROUTE_URL"),
        providers=MappingProxyType({provider: _provider(v, provider) for provider in providers}),
        blob_url=_blob_url(v) if reads_blobs(lane) else None,
        concurrency=_concurrency(v),
        time=_time(v),
        stream=_stream(v),
    )
    v.raise_problems()
    return settings


def load_actions(environ: Mapping[str, str] | None = None) -> ActionsSettings:
    """Load what `actions` holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    env = _env(v)
    settings = ActionsSettings(
        env=env,
        redis=_redis(v, tcp_only=False),
        signing_keys=_signing_keys(v, env),
        qstash=QStashSettings(url=v.url("QSTASH_URL"), token=v.secret("QSTASH_TOKEN")),
        auth=_auth(v),
        stream_token_secret=v.secret("STREAM_TOKEN_SECRET", min_bytes=32),
        stream_token_ttl_seconds=v.number("STREAM_TOKEN_TTL_SECONDS", 7200),
        allowed_origins=_origins(v),
        blob_url=_blob_url(v),
        actions_url=v.url("ACTIONS_URL"),
        events_url=v.url("EVENTS_URL"),
        lane_urls=MappingProxyType({lane: v.url(lane.url_variable) for lane in Lane}),
        initial_quota=v.integer("INITIAL_QUOTA", 8, minimum=0),
        concurrency=_concurrency(v),
        time=_time(v),
        stream=_stream(v),
    )
    v.raise_problems()
    return settings


def load_events(environ: Mapping[str, str] | None = None) -> EventsSettings:
    """Load what the SSE bridge holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    settings = EventsSettings(
        env=_env(v),
        redis=_redis(v, tcp_only=True),
        stream_token_secret=v.secret("STREAM_TOKEN_SECRET", min_bytes=32),
        allowed_origins=_origins(v),
        time=_time(v),
        stream=_stream(v),
    )
    v.raise_problems()
    return settings


def reads_blobs(lane: Lane) -> bool:
    """Tell whether a lane ever takes an image, and so holds the blob store."""
    return any(model is Model.GLM_VISION for model in models_of(lane))


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    if environ is not None:
        return environ
    import os  # the one place in shared/ that may: a test greps for others

    return os.environ


def _env(v: Variables) -> Env:
    return Env(v.choice("SLUICE_ENV", Env.PROD, tuple(Env)))


def _redis(v: Variables, *, tcp_only: bool) -> RedisSettings:
    if tcp_only:
        return RedisSettings(url=v.url("REDIS_URL", schemes=("redis", "rediss", "unix")))
    if v.optional("REDIS_URL"):
        return RedisSettings(url=v.url("REDIS_URL", schemes=("redis", "rediss", "unix")))
    if not v.optional("UPSTASH_REDIS_REST_URL") and not v.optional("UPSTASH_REDIS_REST_TOKEN"):
        v.problems.append("REDIS_URL is missing (or UPSTASH_REDIS_REST_URL with UPSTASH_REDIS_REST_TOKEN)")
        return RedisSettings(url=None)
    return RedisSettings(
        url=None, rest_url=v.url("UPSTASH_REDIS_REST_URL"), rest_token=v.secret("UPSTASH_REDIS_REST_TOKEN")
    )


def _signing_keys(v: Variables, env: Env) -> SigningKeys:
    keys = SigningKeys(current=v.secret("QSTASH_CURRENT_SIGNING_KEY"), next=v.secret("QSTASH_NEXT_SIGNING_KEY"))
    for name, key in (("QSTASH_CURRENT_SIGNING_KEY", keys.current), ("QSTASH_NEXT_SIGNING_KEY", keys.next)):
        if key in PUBLIC_DEV_KEYS and env is not Env.DEV:
            v.problems.append(f"{name} is QStash's public development key, refused unless SLUICE_ENV=dev")
    return keys


def _provider(v: Variables, provider: Provider) -> ProviderSettings:
    defaults = {
        Provider.DEEPSEEK: "https://api.deepseek.com/v1",
        Provider.GLM: "https://open.bigmodel.cn/api/paas/v4",
    }
    name = provider.upper()
    return ProviderSettings(
        base_url=v.url(f"{name}_BASE_URL", defaults[provider]), api_key=v.secret(f"{name}_API_KEY")
    )


def _auth(v: Variables) -> AuthSettings:
    secret, jwks_url = v.optional("AUTH_JWT_SECRET"), v.optional("AUTH_JWKS_URL")
    if not secret and not jwks_url:
        v.problems.append("AUTH_JWT_SECRET is missing (or AUTH_JWKS_URL)")
    if secret and jwks_url:
        v.problems.append("AUTH_JWT_SECRET and AUTH_JWKS_URL are both set: choose one")
    if secret:
        v.secret("AUTH_JWT_SECRET", min_bytes=32)
    if jwks_url:
        v.url("AUTH_JWKS_URL")
    return AuthSettings(secret, jwks_url, v.optional("AUTH_ISSUER"), v.optional("AUTH_AUDIENCE"))


def _origins(v: Variables) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in (v.optional("ALLOWED_ORIGINS") or "").split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path):
            v.problems.append(f"ALLOWED_ORIGINS must be origins (scheme://host[:port]), not {origin!r}")
    return origins


def _blob_url(v: Variables) -> str:
    return v.url("BLOB_URL", schemes=("s3", "gs", "file"))


def _concurrency(v: Variables) -> ConcurrencyConfig:
    return ConcurrencyConfig(
        deepseek_max_workers=v.integer("DEEPSEEK_MAX_WORKERS", 5),
        glm_max_workers=v.integer("GLM_MAX_WORKERS", 2),
        model_slots=_model_slots(v),
        queue_max_size=v.integer("QUEUE_MAX_SIZE", 100),
        queue_max=MappingProxyType(
            {lane: v.integer(name, 1) for lane in Lane if v.optional(name := f"QUEUE_MAX_{lane.upper()}")}
        ),
        user_max_active=v.integer("USER_MAX_ACTIVE", 3),
    )


def _model_slots(v: Variables) -> Mapping[str, int]:
    raw = v.optional("MODEL_SLOTS")
    if raw is None:
        return MappingProxyType({})
    try:
        slots = json.loads(raw)
    except ValueError:
        slots = None
    pairs = {f"{route.model}:{tier}" for (_, tier), route in ROUTES.items()}
    example = 'a JSON object like {"deepseek-chat:paid": 8}'
    if not isinstance(slots, dict):
        v.problems.append(f"MODEL_SLOTS must be {example}")
        return MappingProxyType({})
    for pair, count in slots.items():
        if pair not in pairs:
            v.problems.append(f"MODEL_SLOTS names {pair!r}, which is no pair of a model and a tier")
        elif not isinstance(count, int) or isinstance(count, bool) or count < 1:
            v.problems.append(f"MODEL_SLOTS: {pair} must be a whole number of at least 1, not {count!r}")
    return MappingProxyType(dict(slots))


def _time(v: Variables) -> TimeSettings:
    return TimeSettings(
        lease_seconds=v.number("LEASE_SECONDS", 30),
        worker_timeout_seconds=v.number("WORKER_TIMEOUT_SECONDS", 300),
        max_wait_seconds_stream=v.number("MAX_WAIT_SECONDS_STREAM", 480),
        max_wait_seconds_batch=v.number("MAX_WAIT_SECONDS_BATCH", 600),
        task_retries=v.integer("TASK_RETRIES", 3, minimum=0),
        sweep_minutes=v.number("SWEEP_MINUTES", 5),
        task_ttl_seconds=v.number("TASK_TTL_SECONDS", 604800),
    )


def _stream(v: Variables) -> StreamSettings:
    return StreamSettings(
        flush_interval_ms=v.number("STREAM_FLUSH_INTERVAL_MS", 100, exclusive=False),
        flush_size=v.integer("STREAM_FLUSH_SIZE", 64),
        ttl_seconds=v.number("STREAM_TTL_SECONDS", 86400),
        maxlen=v.integer("STREAM_MAXLEN", 10000),
        heartbeat_seconds=v.number("HEARTBEAT_SECONDS", 15),
        max_connection_seconds=v.number("MAX_CONNECTION_SECONDS", 840),
    )
