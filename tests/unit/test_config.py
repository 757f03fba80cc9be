"""The configuration: each function reads what it holds, names what is wrong, and the documentation says the same."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment.catalogue import load_catalogue
from shared import settings as settings_module
from shared.config import PUBLIC_DEV_KEYS, get_concurrency_config, load_actions, load_events, load_lane
from shared.errors import ConfigError
from shared.routing import ROUTES, Lane, Model, Tier
from shared.settings import AuthSettings, Env, TelemetrySettings, TimeSettings
from shared.telemetry.variables import read_telemetry
from shared.variables import Variables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "configuration.md"
LONG_SECRET = "0123456789abcdef0123456789abcdef"

LOADERS: dict[str, Callable[[Mapping[str, str]], Any]] = {
    **{lane.value: partial(load_lane, lane) for lane in Lane},
    "actions": load_actions,
    "events": load_events,
}

# What each function holds, from the table of the design: the names, by group.
COMMON = {"SLUICE_ENV", "LOG_LEVEL", "LOG_FORMAT", "GOOGLE_CLOUD_PROJECT"}
REDIS_TCP = {"REDIS_URL"}
REDIS = REDIS_TCP | {"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"}
SIGNING_KEYS = {"QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"}
LIMITS = {"DEEPSEEK_MAX_WORKERS", "GLM_MAX_WORKERS", "MODEL_SLOTS", "QUEUE_MAX_SIZE", "USER_MAX_ACTIVE"} | {
    f"QUEUE_MAX_{lane.upper()}" for lane in Lane
}
TIME = {
    "LEASE_SECONDS", "WORKER_TIMEOUT_SECONDS", "MAX_WAIT_SECONDS_STREAM", "MAX_WAIT_SECONDS_BATCH", "TASK_RETRIES",
    "SWEEP_MINUTES", "TASK_TTL_SECONDS", "RETENTION_SECONDS",
}  # fmt: skip
STREAM = {
    "STREAM_FLUSH_INTERVAL_MS", "STREAM_FLUSH_SIZE", "STREAM_TTL_SECONDS", "STREAM_MAXLEN", "HEARTBEAT_SECONDS",
    "MAX_CONNECTION_SECONDS",
}  # fmt: skip
TELEMETRY = {
    "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "TELEMETRY_SETTLE_MS",
}  # fmt: skip
LANE = (
    COMMON | REDIS | SIGNING_KEYS | LIMITS | TIME | STREAM | TELEMETRY | {"ROUTE_URL", "MODEL_IDLE_SECONDS"}
)
DEEPSEEK = {"DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", "DEEPSEEK_JSON_MODE"}
GLM = {"GLM_API_KEY", "GLM_BASE_URL", "GLM_JSON_MODE"}
BLOBS = {"BLOB_URL"}
HOLDS: dict[str, set[str]] = {
    "paid_stream": LANE | DEEPSEEK,
    "free_stream": LANE | GLM,
    "paid_batch": LANE | DEEPSEEK,
    "free_batch": LANE | GLM | BLOBS,
    "paid_vision": LANE | GLM | BLOBS,
    "actions": COMMON | REDIS | SIGNING_KEYS | LIMITS | TIME | STREAM | TELEMETRY | BLOBS
    | {"QSTASH_URL", "QSTASH_TOKEN", "ACTIONS_URL", "EVENTS_URL"} | {lane.url_variable for lane in Lane}
    | {"AUTH_JWT_SECRET", "AUTH_JWT_SECRET_SECOND", "AUTH_JWKS_URL", "AUTH_ISSUER", "AUTH_AUDIENCE", "INITIAL_QUOTA", "RATE_LIMIT_READS", "RATE_LIMIT_WRITES"}
    | {"STREAM_TOKEN_SECRET", "STREAM_TOKEN_TTL_SECONDS", "ALLOWED_ORIGINS", "OPS_TOKEN", "USAGE_DAYS"},
    "events": COMMON | REDIS_TCP | TIME | STREAM | TELEMETRY | {"STREAM_TOKEN_SECRET", "STREAM_TOKEN_SECRET_SECOND", "ALLOWED_ORIGINS"},
}  # fmt: skip

VALUES = {
    "REDIS_URL": "rediss://default:hunter2@redis.example:6379",
    "QSTASH_URL": "https://qstash.example",
    "QSTASH_TOKEN": "hunter2-qstash-token",
    "QSTASH_CURRENT_SIGNING_KEY": "hunter2-current-key",
    "QSTASH_NEXT_SIGNING_KEY": "hunter2-next-key",
    "ROUTE_URL": "https://lane.example",
    "ACTIONS_URL": "https://actions.example",
    "EVENTS_URL": "https://events.example",
    **{lane.url_variable: f"https://{lane.replace('_', '-')}.example" for lane in Lane},
    "DEEPSEEK_API_KEY": "hunter2-deepseek",
    "GLM_API_KEY": "hunter2-glm",
    "AUTH_JWT_SECRET": f"hunter2-{LONG_SECRET}",
    "STREAM_TOKEN_SECRET": f"hunter2-stream-{LONG_SECRET}",
    "BLOB_URL": "s3://bucket/images",
}


COLLECTED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example"}
"""Without an address, what else is said of traces and metrics makes no difference."""


def environ_of(function: str) -> dict[str, str]:
    """The least that `function` starts with."""
    return {name: value for name, value in VALUES.items() if name in HOLDS[function]}


REQUIRED = [(function, name) for function in LOADERS for name in environ_of(function)]


class Recorder(dict[str, str]):
    """An environment that remembers which names were asked for, and can say nothing but what it is asked."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the whole environment was looked through")


def names_read(function: str) -> set[str]:
    """All that `function` ever asks for: of an empty environment and of one in which it starts."""
    empty, full = Recorder({}), Recorder(environ_of(function))
    with pytest.raises(ConfigError):
        LOADERS[function](empty)
    LOADERS[function](full)
    return empty.asked | full.asked


def problem(function: str, **changed: str) -> str:
    """The message with which `function` refuses to start under `changed`."""
    with pytest.raises(ConfigError) as raised:
        LOADERS[function](environ_of(function) | changed)
    return str(raised.value)


# What each function holds


@pytest.mark.parametrize("function", LOADERS)
def test_a_function_reads_what_it_holds_and_nothing_else(function: str) -> None:
    assert names_read(function) == HOLDS[function]


@pytest.mark.parametrize("function", LOADERS)
def test_a_function_is_deployed_with_exactly_the_variables_it_reads(function: str) -> None:
    assert load_catalogue()[function].environment_names == names_read(function)


@pytest.mark.parametrize("function", LOADERS)
def test_a_function_starts_with_its_required_variables_alone(function: str) -> None:
    assert LOADERS[function](environ_of(function)).env is Env.PROD


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_holds_the_key_of_the_providers_it_calls_and_no_other(lane: Lane) -> None:
    called = {route.model.provider for route in ROUTES.values() if route.lane is lane}
    everything = VALUES | {"QSTASH_TOKEN": "x"}
    assert set(load_lane(lane, everything).providers) == called


def reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in READERS
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "os"
        and any(a.name in READERS for a in node.names)
    )


READERS = {"environ", "environb", "getenv", "getenvb"}


def test_nothing_else_in_shared_touches_the_environment() -> None:
    offenders = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "shared").rglob("*.py")
        if any(reads_environment(node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert offenders == {"shared/config.py"}


# What is missing or malformed


@pytest.mark.parametrize(("function", "name"), REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  \n"], ids=["unset", "empty", "blank"])
def test_a_missing_variable_stops_the_function_and_is_named(
    function: str, name: str, value: str | None
) -> None:
    environ = environ_of(function)
    del environ[name]
    with pytest.raises(ConfigError, match=rf"\b{name} is missing"):
        LOADERS[function](environ if value is None else environ | {name: value})


@pytest.mark.parametrize("function", LOADERS)
def test_all_that_is_missing_is_named_at_once(function: str) -> None:
    with pytest.raises(ConfigError) as raised:
        LOADERS[function]({})
    assert all(f"{name} is missing" in str(raised.value) for name in environ_of(function))


def test_problems_of_different_kinds_are_named_together_and_once_each() -> None:
    message = problem("actions", LEASE_SECONDS="0", QSTASH_URL="ftp://x", MODEL_SLOTS="[", ROUTE_URL="")
    assert [message.count(name) for name in ("LEASE_SECONDS", "QSTASH_URL", "MODEL_SLOTS")] == [1, 1, 1]
    assert "ROUTE_URL" not in message


BASE_URLS = [
    "ROUTE_URL", "ACTIONS_URL", "EVENTS_URL", "QSTASH_URL", "DEEPSEEK_BASE_URL", "GLM_BASE_URL",
    *(lane.url_variable for lane in Lane),
]  # fmt: skip
DURATIONS = [
    *(TIME - {"TASK_RETRIES"}),
    "STREAM_TTL_SECONDS",
    "HEARTBEAT_SECONDS",
    "MAX_CONNECTION_SECONDS",
    "MODEL_IDLE_SECONDS",
]
COUNTS = [*sorted(LIMITS - {"MODEL_SLOTS"}), "STREAM_FLUSH_SIZE", "STREAM_MAXLEN"]
NO_BASE_URLS = [
    "example.com", "ftp://a.example", "https://", "https:///x", "https://a.example/", "https://a.example?x=1",
    "https://a.example?", "https://a.example#x", "https://u:p@a.example", "https://a.example:port",
    "https://a.example:99999", "https://[::1", "https://a b.example", "https://a\n.example",
]  # fmt: skip
MALFORMED: dict[str, list[str]] = {
    **dict.fromkeys(BASE_URLS, NO_BASE_URLS),
    **{name: ["0", "-1", "nan", "inf", "1e99", "30s", "1,5", "0x10"] for name in sorted(DURATIONS)},
    **{name: ["0", "-1", "1.5", "many", "9999999999"] for name in COUNTS},
    "STREAM_FLUSH_INTERVAL_MS": ["-1", "nan", "inf", "fast"],
    "STREAM_TOKEN_TTL_SECONDS": ["0", "-5", "2h"],
    "TASK_RETRIES": ["-1", "101", "1.5", "three"],
    "INITIAL_QUOTA": ["-1", "8.0", "all"],
    "USAGE_DAYS": ["0", "-1", "1.5", "all", "36501"],
    "MODEL_SLOTS": [
        "8", "[]", "null", "{", '{"deepseek-chat": 8}', '{"deepseek-chat:gold": 8}', '{"deepseek-chat:free": 8}',
        '{"gpt:paid": 1}', '{"deepseek-chat:paid": 0}', '{"deepseek-chat:paid": "8"}', '{"deepseek-chat:paid": true}',
        '{"deepseek-chat:paid": 1.5}',
    ],
    "SLUICE_ENV": ["production", "DEV", "test"],
    "LOG_LEVEL": ["info", "TRACE", "20"],
    "LOG_FORMAT": ["JSON", "text"],
    "DEEPSEEK_JSON_MODE": ["json_object", "Object", "1"],
    "GLM_JSON_MODE": ["json_schema", "NONE"],
    "REDIS_URL": ["localhost:6379", "http://redis.example", "redis://", "unix:///tmp/x", "redis://h:port"],
    "AUTH_JWKS_URL": ["id.example/jwks", "file:///etc/passwd", "https://"],
    "ALLOWED_ORIGINS": [
        "app.example", "https://app.example/", "https://app.example/x", "https://App.example", "https://a.example?x",
        "https://a.example, ftp://b.example", "https://[", "null",
    ],
    "BLOB_URL": ["/var/blobs", "https://bucket", "s3://", "gs:///x", "file://", "file:///"],
    "UPSTASH_REDIS_REST_URL": ["redis.example", "https://redis.example/"],
}  # fmt: skip
HOLDERS = {name: [f for f, held in HOLDS.items() if name in held] for name in MALFORMED}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values]
)
def test_a_malformed_variable_stops_every_function_that_holds_it_and_is_named(name: str, value: str) -> None:
    changed = {name: value}
    if name == "AUTH_JWKS_URL":
        changed["AUTH_JWT_SECRET"] = ""
    if name == "UPSTASH_REDIS_REST_URL":
        changed |= {"REDIS_URL": "", "UPSTASH_REDIS_REST_TOKEN": "x"}
    for function in HOLDERS[name]:
        assert name in problem(function, **changed)


@pytest.mark.parametrize(
    "name", ["QSTASH_TOKEN", "AUTH_JWT_SECRET", "ACTIONS_URL", "LEASE_SECONDS", "AUTH_ISSUER"]
)
def test_bytes_that_are_not_utf_8_stop_the_function_and_are_named_once(name: str) -> None:
    message = problem("actions", **{name: VALUES.get(name, "30") + "\udcff"})
    assert message.count(f"{name} is not UTF-8") == 1


HELD = [(function, name) for function, held in HOLDS.items() for name in sorted(held)]


@given(held=st.sampled_from(HELD), value=st.text())
def test_no_value_of_any_variable_raises_anything_but_a_config_error(
    held: tuple[str, str], value: str
) -> None:
    function, name = held
    with contextlib.suppress(ConfigError):
        LOADERS[function](environ_of(function) | {name: value})


@pytest.mark.parametrize("function", LOADERS)
def test_no_secret_shows_in_a_message_or_in_a_settings_text(function: str) -> None:
    seconds = {name: f"hunter2-{name}-{LONG_SECRET}" for name in HOLDS[function] if name.endswith("_SECOND")}
    environ = environ_of(function) | seconds
    assert "hunter2" not in repr(LOADERS[function](environ))
    for name in environ:
        with pytest.raises(ConfigError) as raised:
            LOADERS[function](
                environ | {name: environ[name] + "\udcff", "LEASE_SECONDS": "0", "REDIS_URL": "hunter2"}
            )
        assert "hunter2" not in str(raised.value)


# Secrets


@pytest.mark.parametrize("name", ["QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"])
@pytest.mark.parametrize("key", sorted(PUBLIC_DEV_KEYS))
@pytest.mark.parametrize("function", [*Lane, "actions"])
def test_public_development_keys_are_refused_unless_it_is_dev(function: str, name: str, key: str) -> None:
    for env in ("", "prod", "staging"):
        assert f"{name} is QStash's public development key" in problem(
            function, **{name: key, "SLUICE_ENV": env}
        )
    assert LOADERS[function](environ_of(function) | {name: key, "SLUICE_ENV": "dev"}).env is Env.DEV


@pytest.mark.parametrize(
    ("function", "name"),
    [("actions", "AUTH_JWT_SECRET"), ("actions", "STREAM_TOKEN_SECRET"), ("events", "STREAM_TOKEN_SECRET")],
)
def test_a_short_secret_of_ours_is_refused_unless_it_is_dev(function: str, name: str) -> None:
    assert f"{name} is too short" in problem(function, **{name: "x" * 31})
    LOADERS[function](environ_of(function) | {name: "x" * 32})
    LOADERS[function](environ_of(function) | {name: "x", "SLUICE_ENV": "dev"})


@pytest.mark.parametrize("name", ["AUTH_JWT_SECRET", "AUTH_JWT_SECRET_SECOND"])
def test_user_tokens_and_stream_tokens_have_secrets_of_their_own(name: str) -> None:
    message = problem("actions", **{name: LONG_SECRET, "STREAM_TOKEN_SECRET": LONG_SECRET})
    assert "STREAM_TOKEN_SECRET must differ" in message


def test_operators_have_no_access_without_their_token() -> None:
    assert load_actions(environ_of("actions")).ops_token is None
    assert load_actions(environ_of("actions") | {"OPS_TOKEN": LONG_SECRET}).ops_token == LONG_SECRET


def test_an_operators_token_is_long_and_opens_nothing_else() -> None:
    assert "OPS_TOKEN is too short" in problem("actions", OPS_TOKEN="x" * 31)
    for name in ("AUTH_JWT_SECRET", "STREAM_TOKEN_SECRET", "QSTASH_TOKEN"):
        message = problem("actions", **{name: LONG_SECRET, "OPS_TOKEN": LONG_SECRET})
        assert f"OPS_TOKEN must differ from {name}" in message


SECOND_SECRETS = [("actions", "AUTH_JWT_SECRET"), ("events", "STREAM_TOKEN_SECRET")]


@pytest.mark.parametrize(("function", "first"), SECOND_SECRETS)
def test_a_second_secret_is_as_long_as_the_first_and_another_one(function: str, first: str) -> None:
    second = f"{first}_SECOND"
    assert f"{second} is too short" in problem(function, **{second: "x" * 31})
    assert f"{second} must differ from {first}" in problem(function, **{second: VALUES[first]})
    LOADERS[function](environ_of(function) | {second: "x" * 32})
    LOADERS[function](environ_of(function) | {second: "x", "SLUICE_ENV": "dev"})


@pytest.mark.parametrize(("function", "first"), SECOND_SECRETS)
def test_a_second_secret_takes_no_first_ones_place(function: str, first: str) -> None:
    message = problem(function, **{first: "", f"{first}_SECOND": LONG_SECRET})
    assert f"{first} is missing" in message


def test_a_second_secret_beside_published_keys_is_refused() -> None:
    message = problem(
        "actions",
        AUTH_JWT_SECRET="",
        AUTH_JWKS_URL="https://id.example/jwks",
        AUTH_JWT_SECRET_SECOND=LONG_SECRET,
    )
    assert "AUTH_JWT_SECRET_SECOND is set without AUTH_JWT_SECRET" in message


def test_users_tokens_are_checked_in_one_way_never_in_two() -> None:
    keys_url = "https://id.example/jwks?tenant=1"
    assert "AUTH_JWT_SECRET and AUTH_JWKS_URL are both set" in problem("actions", AUTH_JWKS_URL=keys_url)
    loaded = load_actions(environ_of("actions") | {"AUTH_JWT_SECRET": "", "AUTH_JWKS_URL": keys_url})
    assert loaded.auth == AuthSettings(None, keys_url, None, None)


# Redis


@pytest.mark.parametrize("function", [*Lane, "actions"])
def test_redis_is_reached_by_rest_when_no_tcp_address_is_given(function: str) -> None:
    rest = {"UPSTASH_REDIS_REST_URL": "https://redis.example", "UPSTASH_REDIS_REST_TOKEN": "t"}
    environ = environ_of(function) | rest
    assert LOADERS[function](environ).redis.rest_url is None
    redis = LOADERS[function](environ | {"REDIS_URL": ""}).redis
    assert (redis.url, redis.rest_url, redis.rest_token) == (None, "https://redis.example", "t")


@pytest.mark.parametrize("name", ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"])
def test_half_of_the_rest_interface_is_refused(name: str) -> None:
    rest = {
        "UPSTASH_REDIS_REST_URL": "https://redis.example",
        "UPSTASH_REDIS_REST_TOKEN": "t",
        "REDIS_URL": "",
    }
    assert f"{name} is missing" in problem("paid_stream", **(rest | {name: ""}))


def test_the_bridge_needs_tcp() -> None:
    rest = {
        "UPSTASH_REDIS_REST_URL": "https://redis.example",
        "UPSTASH_REDIS_REST_TOKEN": "t",
        "REDIS_URL": "",
    }
    assert "REDIS_URL is missing" in problem("events", **rest)


# Limits


def test_guards_and_producer_get_the_same_limits() -> None:
    limits = {
        "GLM_MAX_WORKERS": "7",
        "QUEUE_MAX_FREE_BATCH": "33",
        "MODEL_SLOTS": '{"deepseek-chat:paid": 8}',
    }
    configured = [get_concurrency_config(limits)]
    configured += [load_lane(lane, environ_of(lane) | limits).concurrency for lane in Lane]
    configured += [load_actions(environ_of("actions") | limits).concurrency]
    assert all(config == configured[0] for config in configured)


def test_limits_alone_need_nothing_else_and_name_what_is_malformed() -> None:
    assert get_concurrency_config({}).user_max_active == 3
    with pytest.raises(ConfigError, match="GLM_MAX_WORKERS"):
        get_concurrency_config({"GLM_MAX_WORKERS": "0"})


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER_MAX_ACTIVE", "17")
    assert get_concurrency_config().user_max_active == 17


def test_slots_come_from_the_provider_unless_the_pair_has_its_own() -> None:
    config = get_concurrency_config(
        {
            "DEEPSEEK_MAX_WORKERS": "4",
            "GLM_MAX_WORKERS": "3",
            "MODEL_SLOTS": '{"glm-4.1v-thinking-flash:free": 1}',
        }
    )
    assert (
        config.slots(Model.DEEPSEEK_CHAT, Tier.PAID) == config.slots(Model.DEEPSEEK_REASONER, Tier.PAID) == 4
    )
    assert config.slots(Model.GLM_FLASH, Tier.FREE) == config.slots(Model.GLM_VISION, Tier.PAID) == 3
    assert config.slots(Model.GLM_VISION, Tier.FREE) == 1


@pytest.mark.parametrize(
    ("limits", "paid", "free"),
    [
        ({}, 100, 20),
        ({"QUEUE_MAX_SIZE": "15"}, 15, 15),
        ({"QUEUE_MAX_SIZE": "500"}, 500, 20),
        ({"QUEUE_MAX_FREE_BATCH": "50"}, 100, 50),
        ({"QUEUE_MAX_PAID_BATCH": "3"}, 3, 20),
    ],
)
def test_a_free_queue_is_capped_unless_it_has_a_size_of_its_own(
    limits: dict[str, str], paid: int, free: int
) -> None:
    config = get_concurrency_config(limits)
    assert (config.places(Lane.PAID_BATCH), config.places(Lane.FREE_BATCH)) == (paid, free)


# Durations


def test_every_duration_takes_a_fraction() -> None:
    for name in DURATIONS:
        for function in (f for f in LOADERS if name in HOLDS[f]):
            LOADERS[function](environ_of(function) | {name: "0.05"})


DURATION = st.floats(min_value=0.001, max_value=1e6)


@given(lease=DURATION, timeout=DURATION, stream=DURATION, batch=DURATION, retries=st.integers(0, 100))
def test_a_place_outlives_the_waiting_budget_and_all_attempts_of_both_steps(
    lease: float, timeout: float, stream: float, batch: float, retries: int
) -> None:
    """D1: what expires before the work it counts is over lets more in than the limit allows."""
    time = TimeSettings(
        lease, timeout, stream, batch, retries, sweep_minutes=5, task_ttl_seconds=1, retention_seconds=1
    )
    attempts = (retries + 1) * (timeout + lease)
    for first in (True, False):
        for second in (True, False):
            waiting = time.max_wait_seconds(streams=first) + time.max_wait_seconds(streams=second)
            assert time.place_max_age_seconds > waiting + 2 * attempts


def test_the_defaults_agree_with_each_other() -> None:
    settings = load_actions(environ_of("actions"))
    time, stream = settings.time, settings.stream
    assert time.task_ttl_seconds > time.place_max_age_seconds
    assert stream.ttl_seconds > time.place_max_age_seconds
    assert settings.stream_token_ttl_seconds > time.step_max_seconds
    assert time.lease_seconds < time.worker_timeout_seconds
    assert stream.heartbeat_seconds < stream.max_connection_seconds


# Documentation


@dataclass(frozen=True)
class Row:
    name: str
    default: str
    unit: str
    meaning: str
    held_by: frozenset[str]


GROUPS = {"lanes": {lane.value for lane in Lane}, "all": set(LOADERS)}


def rows() -> list[Row]:
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name, default, unit, meaning, holders = cells
            held_by = frozenset().union(*(GROUPS.get(h, {h}) for h in re.split(r",\s*", holders)))
            found.append(Row(name.strip("`"), default.strip("`"), unit, meaning, held_by))
    return found


ROWS = rows()


def test_every_variable_that_is_read_has_exactly_one_row() -> None:
    read = set().union(*(names_read(function) for function in LOADERS))
    assert sorted(row.name for row in ROWS) == sorted(read)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_who_holds_the_variable_and_in_which_unit(row: Row) -> None:
    assert row.held_by == {function for function, held in HOLDS.items() if row.name in held}
    assert row.unit
    assert row.meaning


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.default not in {"required", "none"}], ids=lambda r: r.name
)
def test_the_default_in_the_documentation_is_the_one_that_counts(row: Row) -> None:
    other = {
        "SLUICE_ENV": "dev",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "human",
        "DEEPSEEK_BASE_URL": "https://x.example",
        "GLM_BASE_URL": "https://x.example",
        "DEEPSEEK_JSON_MODE": "schema",
        "GLM_JSON_MODE": "none",
        "RATE_LIMIT_READS": "77/second",
        "RATE_LIMIT_WRITES": "77/second",
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_TRACES_SAMPLER_ARG": "0.77",
    }
    for function in row.held_by:
        environ = environ_of(function) | (COLLECTED if row.name in TELEMETRY else {})
        unset = LOADERS[function](environ)
        assert LOADERS[function](environ | {row.name: row.default}) == unset
        assert LOADERS[function](environ | {row.name: other.get(row.name, "77")}) != unset


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.default in {"required", "none"}], ids=lambda r: r.name
)
def test_what_the_documentation_calls_required_is_required_and_the_rest_is_not(row: Row) -> None:
    for function in row.held_by:
        assert (row.name in environ_of(function)) == (row.default == "required")


ENUMS = {"Env", "JsonMode", "LogFormat"}


def sentences(node: ast.ClassDef) -> dict[str, str]:
    """The string that follows each field of a class, by the field's name."""
    return {
        statement.target.id: str(after.value.value)
        for statement, after in pairwise(node.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def test_every_settings_class_and_every_field_of_it_has_a_sentence() -> None:
    tree = ast.parse(Path(settings_module.__file__).read_text(encoding="utf-8"))
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name not in ENUMS):
        assert ast.get_docstring(node), node.name
        described = sentences(node)
        assert [field.name for field in fields(getattr(settings_module, node.name))] == list(described)
        assert all(sentence.endswith(".") for sentence in described.values())


# Traces and metrics


def telemetry(**variables: str) -> TelemetrySettings | None:
    settings: TelemetrySettings | None = load_lane(
        Lane.PAID_STREAM, environ_of("paid_stream") | variables
    ).telemetry
    return settings


@pytest.mark.parametrize("base", ["https://collector.example", "https://collector.example/"])
def test_traces_and_metrics_go_below_the_common_address(base: str) -> None:
    settings = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=base)
    assert settings is not None
    assert settings.traces_url == "https://collector.example/v1/traces"
    assert settings.metrics_url == "https://collector.example/v1/metrics"


def test_a_signal_s_own_address_is_taken_as_it_stands_and_switches_only_that_signal_on() -> None:
    settings = telemetry(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://traces.example/x/")
    assert settings is not None
    assert (settings.traces_url, settings.metrics_url) == ("https://traces.example/x/", None)


def test_what_a_request_to_the_collector_carries_is_decoded_and_never_shown() -> None:
    settings = telemetry(**COLLECTED, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20hunter2, x-scope=a=b")
    assert settings is not None
    assert settings.headers == {"authorization": "Basic hunter2", "x-scope": "a=b"}
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in problem("actions", **COLLECTED, OTEL_EXPORTER_OTLP_HEADERS="hunter2")


def test_a_share_of_traces_above_all_of_them_is_refused() -> None:
    assert "OTEL_TRACES_SAMPLER_ARG must be a share" in problem(
        "actions", **COLLECTED, OTEL_TRACES_SAMPLER_ARG="1.1"
    )


def test_an_address_without_the_packages_that_send_is_refused_and_says_how_to_get_them() -> None:
    variables = Variables(COLLECTED)
    read_telemetry(variables, Env.DEV, installed=lambda: False)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT .* `telemetry = true`"):
        variables.raise_problems()


def test_the_packages_are_not_asked_for_while_nothing_is_sent() -> None:
    for environ in ({}, COLLECTED | {"OTEL_SDK_DISABLED": "true"}):
        variables = Variables(environ)
        assert read_telemetry(variables, Env.DEV, installed=lambda: False) is None
        variables.raise_problems()
