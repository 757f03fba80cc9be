"""The environment of each function of the dev stack: its own variables, and nothing of another's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deployment.catalogue import load_catalogue
from devstack.environment import WITHOUT_FOLDER, Rest, Wiring, environment_of
from devstack.processes import StackError
from devstack.stack import Stack
from devstack.up import telemetry_of, traces_line
from shared.config import SigningKeys, load_actions, load_events, load_lane
from shared.routing import Lane

CATALOGUE = load_catalogue()
WIRING = Wiring(
    redis_url="redis://127.0.0.1:1/0",
    rest=None,
    qstash_url="http://127.0.0.1:2",
    qstash_token="token",
    signing_keys=SigningKeys("current" * 5, "next" * 9),
    llm_base_url="http://127.0.0.1:3/v1",
    ports={name: 9000 + number for number, name in enumerate(CATALOGUE)},
    blob_folder=Path("/blobs"),
    jwt_secret="j" * 32,
    stream_token_secret="s" * 32,
    ops_token="o" * 32,
    allowed_origins=("http://127.0.0.1:4",),
    provider_environment={},
    overrides={},
)
ANY_PROCESS = {"HOME", "PATH", "LANG", "PYTHONUNBUFFERED", "THREADS", "PYTHONPATH"}


def environment(name: str, **changes: object) -> dict[str, str]:
    wiring = dataclasses.replace(WIRING, **changes)  # type: ignore[arg-type]  # each test names its own fields
    return environment_of(CATALOGUE[name], wiring, Path("/home") / name)


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("rest", [None, Rest("http://127.0.0.1:5", "token")])
def test_a_function_starts_with_what_it_is_given_and_is_given_nothing_else(
    name: str, rest: Rest | None
) -> None:
    given = environment(name, rest=rest)
    assert given.keys() - ANY_PROCESS <= CATALOGUE[name].environment_names
    match name:
        case "actions":
            load_actions(given)
        case "events":
            load_events(given)
        case _:
            load_lane(Lane(name), given)


def test_a_function_that_sends_no_traces_finds_nothing_to_send_them_with_as_where_it_is_deployed() -> None:
    assert environment("actions")["PYTHONPATH"] == str(WITHOUT_FOLDER)
    assert "PYTHONPATH" not in environment(
        "actions", overrides={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:6"}
    )


def test_each_lane_s_public_address_is_its_own() -> None:
    routes = {lane: environment(lane)["ROUTE_URL"] for lane in Lane}
    assert routes == {lane: environment("actions")[lane.url_variable] for lane in Lane}


def test_the_caller_s_own_key_reaches_its_provider_and_no_other() -> None:
    own = {"DEEPSEEK_API_KEY": "real"}
    given = environment("paid_stream", provider_environment=own)
    assert given["DEEPSEEK_API_KEY"] == "real"
    assert "DEEPSEEK_BASE_URL" not in given
    assert environment("free_stream", provider_environment=own)["GLM_BASE_URL"] == WIRING.llm_base_url


def test_a_lane_has_more_threads_than_slots_however_many_slots_there_are() -> None:
    """D12: a delivery that finds no slot is refused at once, it does not wait for a thread."""
    given = environment("free_batch", overrides={"GLM_MAX_WORKERS": "40"})
    assert int(given["THREADS"]) > 2 * 40


def test_a_variable_that_no_function_takes_is_refused() -> None:
    with pytest.raises(StackError, match=r"LEASE_SECOND$"):
        Stack(overrides={"LEASE_SECOND": "1"})


def test_make_up_hands_on_where_traces_go_and_nothing_else_of_its_own_environment() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_PYTHON_ID_GENERATOR": "another",
        "AUTH_JWT_SECRET": "mine",
    }
    handed_on = telemetry_of(environ)
    assert handed_on.keys() == {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"}
    assert traces_line(handed_on) == "http://127.0.0.1:4318"
    assert traces_line({}).startswith("nowhere; OTEL_EXPORTER_OTLP_ENDPOINT=")
