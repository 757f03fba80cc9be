"""The configuration: the only module that touches the environment, and the one source of limits.

Each function loads what it holds and nothing else (`load_lane`, `load_actions`, `load_events`), once, at
import: a missing or malformed variable raises ConfigError that names it, and the function does not start. The
values are `shared.settings`; every variable has its row in `docs/configuration.md`, and a test holds the two
together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from shared.references import VARIABLE as REFERENCES_VARIABLE
from shared.references import References, read_references
from shared.routing import ROUTES, Lane, Model, Provider, models_of
from shared.settings import (
    FREE_QUEUE_CAP,
    ActionsSettings,
    AuthSettings,
    ConcurrencyConfig,
    Env,
    EventsSettings,
    JsonMode,
    LaneSettings,
    LedgerSettings,
    LogFormat,
    LogSettings,
    OperatorSettings,
    ProviderSettings,
    QStashSettings,
    RateLimits,
    ReconciliationSettings,
    RedisSettings,
    SigningKeys,
    StreamSettings,
    TimeSettings,
)
from shared.telemetry.variables import read_telemetry
from shared.variables import Variables

__all__ = [
    "FREE_QUEUE_CAP",
    "PUBLIC_DEV_KEYS",
    "ActionsSettings",
    "AuthSettings",
    "ConcurrencyConfig",
    "Env",
    "EventsSettings",
    "JsonMode",
    "LaneSettings",
    "LedgerSettings",
    "LogFormat",
    "LogSettings",
    "OperatorSettings",
    "ProviderSettings",
    "QStashSettings",
    "RateLimits",
    "ReconciliationSettings",
    "RedisSettings",
    "SigningKeys",
    "StreamSettings",
    "TimeSettings",
    "get_concurrency_config",
    "get_time_settings",
    "hold_secrets",
    "load_actions",
    "load_events",
    "load_lane",
    "load_ledger",
    "load_operator",
    "load_reconciliation",
    "load_references",
    "reads_blobs",
]

PUBLIC_DEV_KEYS = frozenset(
    {
        # Printed in the documentation of QStash's development server: whoever holds them signs anything.
        "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
        "sig_7GVPjvuwsfqF65iC8fSrs1dfYruM", "sig_5NoELc3EFnZn4DVS5bDs2Nk4b7Ua",
        "sig_6jWGaWRxHsw4vMSPJprXadyvrybF", "sig_7qHbvhmahe5GwfePDiS5Lg3pi6Qx",
        "sig_5T8FcSsynBjn9mMLBsXhpacRovJf", "sig_7GFR4YaDshFcqsxWRZpRB161jguD",
    }
)  # fmt: skip
MIN_SECRET_BYTES = 32
"""What a secret of ours must have outside dev: HS256 is as strong as its key."""
MAX_USAGE_DAYS = 36_500
MAX_RETRIES = 100
"""What a message's `retries` may say."""
_PROVIDER_URLS = {
    Provider.DEEPSEEK: "https://api.deepseek.com/v1",
    Provider.GLM: "https://open.bigmodel.cn/api/paas/v4",
}


def get_concurrency_config(environ: Mapping[str, str] | None = None) -> ConcurrencyConfig:
    """Return every limit there is, from `environ` (the process's by default).

    Raises:
        ConfigError: a variable is malformed; the message names it.
    """
    v = Variables(_environ(environ))
    concurrency = _concurrency(v)
    v.raise_problems()
    return concurrency


def get_time_settings(environ: Mapping[str, str] | None = None) -> TimeSettings:
    """Return how long things may take, from `environ` (the process's by default).

    Raises:
        ConfigError: a variable is malformed; the message names it.
    """
    v = Variables(_environ(environ))
    time = _time(v)
    v.raise_problems()
    return time


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
        logs=_logs(v),
        redis=_redis(v),
        signing_keys=_signing_keys(v, env),
        route_url=v.base_url("ROUTE_URL"),
        providers=MappingProxyType({provider: _provider(v, provider) for provider in providers}),
        model_idle_seconds=v.number("MODEL_IDLE_SECONDS", 60),
        blob_url=_blob_url(v) if reads_blobs(lane) else None,
        concurrency=_concurrency(v),
        time=_time(v),
        stream=_stream(v),
        telemetry=read_telemetry(v, env),
    )
    v.raise_problems()
    return settings


def load_actions(environ: Mapping[str, str] | None = None) -> ActionsSettings:
    """Load what `actions` holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    env = _env(v)
    auth = _auth(v, env)
    settings = ActionsSettings(
        env=env,
        logs=_logs(v),
        redis=_redis(v),
        signing_keys=_signing_keys(v, env),
        qstash=QStashSettings(url=v.base_url("QSTASH_URL"), token=v.secret("QSTASH_TOKEN")),
        auth=auth,
        stream_token_secret=_stream_token_secret(v, env, other_than=(auth.secret, auth.second_secret)),
        stream_token_ttl_seconds=v.number("STREAM_TOKEN_TTL_SECONDS", 7200),
        allowed_origins=v.origins("ALLOWED_ORIGINS"),
        blob_url=_blob_url(v),
        actions_url=v.base_url("ACTIONS_URL"),
        events_url=v.base_url("EVENTS_URL"),
        lane_urls=MappingProxyType({lane: v.base_url(lane.url_variable) for lane in Lane}),
        initial_quota=_initial_quota(v),
        rate_limits=RateLimits(
            reads=v.rate("RATE_LIMIT_READS", "3000/minute"), writes=v.rate("RATE_LIMIT_WRITES", "300/minute")
        ),
        concurrency=_concurrency(v),
        time=_time(v),
        stream=_stream(v),
        usage_days=v.integer("USAGE_DAYS", 400, maximum=MAX_USAGE_DAYS),
        ops_token=_ops_token(v, env),
        telemetry=read_telemetry(v, env),
    )
    v.raise_problems()
    return settings


def load_events(environ: Mapping[str, str] | None = None) -> EventsSettings:
    """Load what the SSE bridge holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    env = _env(v)
    stream_token_secret = _stream_token_secret(v, env)
    settings = EventsSettings(
        env=env,
        logs=_logs(v),
        redis=_redis_tcp(v),
        stream_token_secret=stream_token_secret,
        stream_token_secret_second=_second_secret(v, env, "STREAM_TOKEN_SECRET", stream_token_secret),
        allowed_origins=v.origins("ALLOWED_ORIGINS"),
        time=_time(v),
        stream=_stream(v),
        telemetry=read_telemetry(v, env),
    )
    v.raise_problems()
    return settings


def load_ledger(environ: Mapping[str, str] | None = None) -> LedgerSettings:
    """Load what support staff's tool holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    settings = LedgerSettings(redis=_redis(v), initial_quota=_initial_quota(v))
    v.raise_problems()
    return settings


def load_reconciliation(environ: Mapping[str, str] | None = None) -> ReconciliationSettings:
    """Load what the operator's comparison holds; raises ConfigError as `load_lane` does."""
    v = Variables(_environ(environ))
    settings = ReconciliationSettings(
        redis=_redis(v), concurrency=_concurrency(v), time=_time(v), stream=_stream(v)
    )
    v.raise_problems()
    return settings


def load_operator(environ: Mapping[str, str] | None = None) -> OperatorSettings:
    """Load what an operator's commands hold that go through `actions`; raises as `load_lane` does."""
    v = Variables(_environ(environ))
    settings = OperatorSettings(actions_url=v.base_url("ACTIONS_URL"), ops_token=v.secret("OPS_TOKEN"))
    v.raise_problems()
    return settings


def load_references(environ: Mapping[str, str] | None = None) -> References | None:
    """Load which secrets are fetched before a function starts; None when none are.

    Raises:
        ConfigError: a variable is missing or malformed; the message names each.
    """
    v = Variables(_environ(environ))
    references = read_references(v)
    v.raise_problems()
    return references


def hold_secrets(values: Mapping[str, str]) -> None:
    """Put fetched secrets where the loaders look, and forget where they came from."""
    import os  # the environment is this module's, for writing too

    os.environ.update(values)
    os.environ.pop(REFERENCES_VARIABLE, None)


def reads_blobs(lane: Lane) -> bool:
    """Tell whether a lane ever takes an image, and so holds the blob store."""
    return Model.GLM_VISION in models_of(lane)


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    if environ is not None:
        return environ
    import os  # the one place in shared/ that may: a test looks for others

    return os.environ


def _env(v: Variables) -> Env:
    return Env(v.choice("SLUICE_ENV", Env.PROD, tuple(Env)))


def _logs(v: Variables) -> LogSettings:
    return LogSettings(
        level=v.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        format=LogFormat(v.choice("LOG_FORMAT", LogFormat.JSON, tuple(LogFormat))),
        trace_project=v.optional("GOOGLE_CLOUD_PROJECT"),
    )


def _redis_tcp(v: Variables) -> RedisSettings:
    return RedisSettings(url=v.url("REDIS_URL", schemes=("redis", "rediss")))


def _redis(v: Variables) -> RedisSettings:
    if v.optional("REDIS_URL"):
        return _redis_tcp(v)
    if not any([v.optional("UPSTASH_REDIS_REST_URL"), v.optional("UPSTASH_REDIS_REST_TOKEN")]):
        v.problems.append("REDIS_URL is missing (or UPSTASH_REDIS_REST_URL with UPSTASH_REDIS_REST_TOKEN)")
        return RedisSettings(url=None)
    rest_url, rest_token = v.base_url("UPSTASH_REDIS_REST_URL"), v.secret("UPSTASH_REDIS_REST_TOKEN")
    return RedisSettings(url=None, rest_url=rest_url, rest_token=rest_token)


def _signing_keys(v: Variables, env: Env) -> SigningKeys:
    keys = SigningKeys(
        current=v.secret("QSTASH_CURRENT_SIGNING_KEY"), next=v.secret("QSTASH_NEXT_SIGNING_KEY")
    )
    for name, key in (("QSTASH_CURRENT_SIGNING_KEY", keys.current), ("QSTASH_NEXT_SIGNING_KEY", keys.next)):
        if key in PUBLIC_DEV_KEYS and env is not Env.DEV:
            v.problems.append(f"{name} is QStash's public development key, refused unless SLUICE_ENV=dev")
    return keys


def _provider(v: Variables, provider: Provider) -> ProviderSettings:
    name = provider.upper()
    base_url = v.base_url(f"{name}_BASE_URL", _PROVIDER_URLS[provider])
    json_mode = JsonMode(v.choice(f"{name}_JSON_MODE", JsonMode.OBJECT, list(JsonMode)))
    return ProviderSettings(base_url, api_key=v.secret(f"{name}_API_KEY"), json_mode=json_mode)


def _min_secret_bytes(env: Env) -> int:
    return 1 if env is Env.DEV else MIN_SECRET_BYTES


def _auth(v: Variables, env: Env) -> AuthSettings:
    secret, jwks_url = v.optional("AUTH_JWT_SECRET"), v.optional("AUTH_JWKS_URL")
    if not secret and not jwks_url:
        v.problems.append("AUTH_JWT_SECRET is missing (or AUTH_JWKS_URL)")
    if secret and jwks_url:
        v.problems.append("AUTH_JWT_SECRET and AUTH_JWKS_URL are both set: choose one")
    if secret:
        v.secret("AUTH_JWT_SECRET", min_bytes=_min_secret_bytes(env))
    if jwks_url:
        v.url("AUTH_JWKS_URL")
    second = _second_secret(v, env, "AUTH_JWT_SECRET", secret)
    if second and not secret:
        v.problems.append("AUTH_JWT_SECRET_SECOND is set without AUTH_JWT_SECRET")
    return AuthSettings(secret, jwks_url, v.optional("AUTH_ISSUER"), v.optional("AUTH_AUDIENCE"), second)


def _stream_token_secret(v: Variables, env: Env, *, other_than: tuple[str | None, ...] = ()) -> str:
    secret = v.secret("STREAM_TOKEN_SECRET", min_bytes=_min_secret_bytes(env))
    if secret and secret in other_than:
        v.problems.append("STREAM_TOKEN_SECRET must differ from AUTH_JWT_SECRET and its _SECOND")
    return secret


def _second_secret(v: Variables, env: Env, first_name: str, first: str | None) -> str | None:
    """Read the secret that is good beside the first one while one takes the other's place."""
    name = f"{first_name}_SECOND"
    if not v.optional(name):
        return None
    second = v.secret(name, min_bytes=_min_secret_bytes(env))
    if second == first:
        v.problems.append(f"{name} must differ from {first_name}")
    return second


def _ops_token(v: Variables, env: Env) -> str | None:
    """Read what opens the operators' addresses; it opens nothing else, so no other secret may be it."""
    token = v.optional("OPS_TOKEN")
    if token is None:
        return None
    for name in ("AUTH_JWT_SECRET", "STREAM_TOKEN_SECRET", "QSTASH_TOKEN"):
        if token == v.optional(name):
            v.problems.append(f"OPS_TOKEN must differ from {name}")
    return v.secret("OPS_TOKEN", min_bytes=_min_secret_bytes(env))


def _blob_url(v: Variables) -> str:
    return v.url("BLOB_URL", schemes=("s3", "gs", "file"))


def _initial_quota(v: Variables) -> int:
    return v.integer("INITIAL_QUOTA", 8, minimum=0)


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
    try:
        slots = json.loads(raw or "{}")
    except (ValueError, RecursionError):
        slots = None
    if not isinstance(slots, dict):
        v.problems.append('MODEL_SLOTS must be a JSON object like {"deepseek-chat:paid": 8}')
        return MappingProxyType({})
    pairs = {f"{route.model}:{tier}" for (_, tier), route in ROUTES.items()}
    for pair, count in slots.items():
        if pair not in pairs:
            v.problems.append(f"MODEL_SLOTS names {pair!r}, which is no pair of a model and a tier")
        elif type(count) is not int or count < 1:
            v.problems.append(f"MODEL_SLOTS: {pair} must be a whole number of at least 1, not {count!r}")
    return MappingProxyType(slots)


def _time(v: Variables) -> TimeSettings:
    return TimeSettings(
        lease_seconds=v.number("LEASE_SECONDS", 30),
        worker_timeout_seconds=v.number("WORKER_TIMEOUT_SECONDS", 300),
        max_wait_seconds_stream=v.number("MAX_WAIT_SECONDS_STREAM", 480),
        max_wait_seconds_batch=v.number("MAX_WAIT_SECONDS_BATCH", 600),
        task_retries=v.integer("TASK_RETRIES", 3, minimum=0, maximum=MAX_RETRIES),
        sweep_minutes=v.number("SWEEP_MINUTES", 5),
        task_ttl_seconds=v.number("TASK_TTL_SECONDS", 604800),
        retention_seconds=v.number("RETENTION_SECONDS", 31_536_000),
    )


def _stream(v: Variables) -> StreamSettings:
    return StreamSettings(
        flush_interval_ms=v.number("STREAM_FLUSH_INTERVAL_MS", 100, zero=True),
        flush_size=v.integer("STREAM_FLUSH_SIZE", 64),
        ttl_seconds=v.number("STREAM_TTL_SECONDS", 86400),
        maxlen=v.integer("STREAM_MAXLEN", 10000),
        heartbeat_seconds=v.number("HEARTBEAT_SECONDS", 15),
        max_connection_seconds=v.number("MAX_CONNECTION_SECONDS", 840),
    )
