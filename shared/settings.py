"""The settings of each function, as frozen values; `shared.config` reads them from the environment.

A duration is a float in seconds unless its name says otherwise, and may be a fraction: a test's lease is
milliseconds long. What travels to Redis or QStash is converted at that edge. Secrets, and addresses that may
hold one, never show in a `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.routing import Lane, Model, Provider, Tier

PARENT_BASED = "parentbased_"
"""How a sampler's name begins that leaves the decision to whoever began the trace."""
FREE_QUEUE_CAP = 20
"""Places of a free lane's queue, at most, unless its own variable says otherwise."""


class Env(StrEnum):
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class JsonMode(StrEnum):
    """How a provider is asked for JSON, by its `response_format`. Whatever it is, the prompt asks too."""

    OBJECT = "object"
    """`json_object`: any object; what DeepSeek and GLM take."""
    SCHEMA = "schema"
    """`json_schema`: the template's own; what OpenAI and servers like vLLM take."""
    GRAMMAR = "grammar"
    """`json_object` with the template's schema beside it: how llama.cpp makes a grammar of it."""
    NONE = "none"
    """Nothing: in the prompt alone."""


class LogFormat(StrEnum):
    """What a line of the log looks like."""

    JSON = "json"
    """One JSON object, for machines."""
    HUMAN = "human"
    """For people who watch."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a process logs, and how."""

    level: str
    """The least level that is logged: DEBUG, INFO, WARNING or ERROR."""
    format: LogFormat
    """What a line looks like."""
    trace_project: str | None = None
    """The Google Cloud project in which a line's trace is looked up; None elsewhere."""


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach Redis: over TCP or over REST, exactly one of the two."""

    url: str | None = field(repr=False)
    """The TCP address, `redis://` or `rediss://`; it may hold a password."""
    rest_url: str | None = None
    """The base URL of Upstash's REST interface."""
    rest_token: str | None = field(default=None, repr=False)
    """The bearer token of the REST interface."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The two keys by which QStash's signature is checked; a key's bytes are its text's UTF-8."""

    current: str = field(repr=False)
    """The key that QStash signs with."""
    next: str = field(repr=False)
    """The key that QStash signs with once the keys have been rolled."""


@dataclass(frozen=True, slots=True)
class QStashSettings:
    """Where and as whom messages are published; only `actions` holds it."""

    url: str
    """The base URL of QStash's region."""
    token: str = field(repr=False)
    """The bearer token that may publish."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """How to reach one provider of models, by the OpenAI chat protocol."""

    base_url: str
    """The URL below which the chat endpoint stands."""
    api_key: str = field(repr=False)
    """The provider's key."""
    json_mode: JsonMode = JsonMode.OBJECT
    """How its models are asked for JSON, those of them that take it."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How users' tokens are checked: by a shared secret (HS256) or by published keys (RS256, ES256)."""

    secret: str | None = field(repr=False)
    """The secret that user tokens are signed with, when they are HS256."""
    jwks_url: str | None
    """Where the issuer publishes its keys, when user tokens are RS256 or ES256."""
    issuer: str | None
    """The `iss` that a user token must carry; unset, any."""
    audience: str | None
    """The `aud` that a user token must carry; unset, a token that names an audience is for somebody else."""
    second_secret: str | None = field(default=None, repr=False)
    """Another secret that is good too, while one takes the other's place."""


@dataclass(frozen=True, slots=True)
class ConcurrencyConfig:
    """Every limit there is, for guards and producer alike."""

    deepseek_max_workers: int
    """Attempts that may call one DeepSeek model for one tier at once."""
    glm_max_workers: int
    """Attempts that may call one GLM model for one tier at once."""
    model_slots: Mapping[str, int]
    """Attempts at once for single pairs, by `{modelId}:{tier}`; stronger than the provider's number."""
    queue_max_size: int
    """Task steps that may be queued or running in a lane; a free lane has at most `FREE_QUEUE_CAP`."""
    queue_max: Mapping[Lane, int]
    """Task steps for single lanes; stronger than `queue_max_size` and the cap."""
    user_max_active: int
    """Tasks that one user may have open at once."""

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
    """How long things may take, and what follows from it."""

    lease_seconds: float
    """How long a slot outlives its holder's last renewal; renewed every third of it."""
    worker_timeout_seconds: float
    """How long QStash waits for a worker's answer; below the platform's own time-out."""
    max_wait_seconds_stream: float
    """How long a step with streamed output may wait for its slot before the task ends `wait_timeout`."""
    max_wait_seconds_batch: float
    """How long a step with structured output may wait for its slot."""
    task_retries: int
    """Attempts of a step after its first."""
    sweep_minutes: float
    """Minutes between two sweeps for tasks whose message is gone."""
    task_ttl_seconds: float
    """How long a task's record outlives its task."""
    retention_seconds: float
    """How long résumés, services and their results are kept after they were last written."""

    def max_wait_seconds(self, *, streams: bool) -> float:
        """Return the waiting budget of a step, by whether its output streams."""
        return self.max_wait_seconds_stream if streams else self.max_wait_seconds_batch

    @property
    def step_max_seconds(self) -> float:
        """The longest that one step can live: its waiting budget and all its attempts with their leases."""
        waiting = max(self.max_wait_seconds_stream, self.max_wait_seconds_batch)
        return waiting + (self.task_retries + 1) * (self.worker_timeout_seconds + self.lease_seconds)

    @property
    def place_max_age_seconds(self) -> float:
        """When a queue place is surely nobody's: a task has two steps at most, both reserved at admission."""
        return 2 * self.step_max_seconds + 60


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How events are written, kept and read."""

    flush_interval_ms: float
    """Milliseconds for which tokens are merged before they are written; 0 writes at Redis's own pace."""
    flush_size: int
    """Tokens after which a batch is written before its interval is over."""
    ttl_seconds: float
    """How long a task's events outlive the last of them, once the task has ended."""
    maxlen: int
    """Events kept of one task, roughly: Redis trims whole blocks."""
    heartbeat_seconds: float
    """How often an idle connection to a browser carries a comment."""
    max_connection_seconds: float
    """How long the bridge keeps one connection before the browser resumes; below the platform's limit."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where a function sends traces and metrics, and how much of them."""

    env: Env
    """Which kind of environment it is."""
    traces_url: str | None = field(repr=False)
    """Where spans go, by OTLP over HTTP; None: nowhere. It may hold a key."""
    metrics_url: str | None = field(repr=False)
    """Where measurements go; None: nowhere."""
    headers: Mapping[str, str] = field(repr=False)
    """What each request to the collector carries, a key of its operator's most likely."""
    resource: Mapping[str, str]
    """What is said of this process beside its name."""
    sampler: str
    """Which traces are kept, by OpenTelemetry's names."""
    ratio: float
    """Of traces that begin here, the share that a sampler by ratio keeps."""
    delta: bool
    """Whether a measurement tells what came since the last one, not the sum since the start."""
    metric_interval_seconds: float
    """How often measurements are sent."""
    settle_seconds: float
    """How long a delivery's answer waits for its spans to be sent, at most; 0: not at all."""


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """All that one lane's function holds."""

    lane: Lane
    """The lane itself; declared by its `main.py`, not by the environment."""
    env: Env
    """Which kind of environment this is; only `dev` takes public keys and short secrets."""
    logs: LogSettings
    """What it logs, and how."""
    redis: RedisSettings
    """How to reach Redis."""
    signing_keys: SigningKeys
    """What a delivery is signed with."""
    route_url: str
    """This function's own public URL, the first part of the signed `sub`."""
    providers: Mapping[Provider, ProviderSettings]
    """The providers of the models that this lane calls, and no other."""
    model_idle_seconds: float
    """How long a provider may be silent in mid-answer before the attempt is given up."""
    blob_url: str | None
    """Where images lie; None in a lane that takes none."""
    concurrency: ConcurrencyConfig
    """Every limit there is."""
    time: TimeSettings
    """How long things may take."""
    stream: StreamSettings
    """How events are written."""
    telemetry: TelemetrySettings | None
    """Where traces and metrics go; None: nowhere, and nothing of it is imported."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How many requests one user may make, as `{count}/{second | minute | hour | day}`."""

    reads: str
    """Of requests that only read: GET and HEAD."""
    writes: str
    """Of all others: actions, cancels, deletions."""


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What support staff's tool holds: where the quotas are, and what a new user has."""

    redis: RedisSettings
    """How to reach Redis."""
    initial_quota: int
    """Coins that a user never seen before has."""


@dataclass(frozen=True, slots=True)
class ReconciliationSettings:
    """What the operator's comparison holds: where everything is, and by which limits it came about."""

    redis: RedisSettings
    """How to reach Redis."""
    concurrency: ConcurrencyConfig
    """Every limit there is."""
    time: TimeSettings
    """How long things may take."""
    stream: StreamSettings
    """How long events are kept."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What an operator's commands hold that go through `actions`: where it is, and what opens it."""

    actions_url: str
    """The public URL of `actions`."""
    ops_token: str = field(repr=False)
    """What operators prove themselves with."""


@dataclass(frozen=True, slots=True)
class ActionsSettings:
    """All that `actions` holds; no provider's key."""

    env: Env
    """Which kind of environment this is; only `dev` takes public keys and short secrets."""
    logs: LogSettings
    """What it logs, and how."""
    redis: RedisSettings
    """How to reach Redis."""
    signing_keys: SigningKeys
    """What a callback is signed with."""
    qstash: QStashSettings
    """Where messages are published."""
    auth: AuthSettings
    """How users' tokens are checked."""
    stream_token_secret: str = field(repr=False)
    """What stream tokens are signed with; shared with `events`."""
    stream_token_ttl_seconds: float
    """How long a stream token opens its channel."""
    allowed_origins: tuple[str, ...]
    """The origins whose pages may call; `*` is all."""
    blob_url: str
    """Where uploaded images are kept: `s3://`, `gs://` or `file://`."""
    actions_url: str
    """This function's own public URL: callbacks and status addresses stand below it."""
    events_url: str
    """The SSE bridge's public URL."""
    lane_urls: Mapping[Lane, str]
    """Each lane's public URL, the first part of its messages' destination."""
    initial_quota: int
    """Coins that a user never seen before has."""
    rate_limits: RateLimits
    """How many requests one user may make."""
    concurrency: ConcurrencyConfig
    """Every limit there is."""
    time: TimeSettings
    """How long things may take."""
    stream: StreamSettings
    """How long events are kept."""
    telemetry: TelemetrySettings | None
    """Where traces and metrics go; None: nowhere, and nothing of it is imported."""
    usage_days: int
    """Days for which sums of usage are kept."""
    ops_token: str | None = field(default=None, repr=False)
    """What operators prove themselves with; None when there is nothing for them here."""


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """All that the SSE bridge holds."""

    env: Env
    """Which kind of environment this is; only `dev` takes a short secret."""
    logs: LogSettings
    """What it logs, and how."""
    redis: RedisSettings
    """How to reach Redis; always TCP, for blocking reads."""
    stream_token_secret: str = field(repr=False)
    """What stream tokens are signed with; shared with `actions`."""
    stream_token_secret_second: str | None = field(repr=False)
    """Another secret by which a stream token is good too, while one takes the other's place."""
    allowed_origins: tuple[str, ...]
    """The origins whose pages may read; `*` is all."""
    time: TimeSettings
    """How long things may take; tells a stalled task from a slow one."""
    stream: StreamSettings
    """How events are kept and read."""
    telemetry: TelemetrySettings | None
    """Where traces and metrics go; None: nowhere, and nothing of it is imported."""
