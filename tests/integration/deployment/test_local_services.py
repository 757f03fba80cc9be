"""The world around a development environment: the same addresses and secrets each time, and what it was given is kept."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from deployment.catalogue import load_catalogue
from deployment.environments import load_environment
from deployment.errors import Refused
from deployment.providers.local.outside import load_outside
from deployment.providers.local.provider import LocalProvider
from deployment.qstash import QStash
from devstack import services
from shared.config import load_actions, load_events, load_lane
from shared.routing import Lane
from shared.state.store import TcpStore
from tests.integration.http.stand_ins import plain_client, wait_for

CATALOGUE = load_catalogue()


def dev(folder: Path) -> LocalProvider:
    return LocalProvider(load_environment("dev"), CATALOGUE, folder)


def test_what_is_declared_is_the_same_each_time_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    assert services.declare(folder) == services.declare(folder)
    kept = folder / "services.json"
    assert (kept.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert services.declare(folder) != services.declare(tmp_path / "another")


def test_no_value_of_a_secret_is_in_a_representation(tmp_path: Path) -> None:
    declared = services.declare(tmp_path)
    for value in (*declared.secrets.values(), *declared.suggested.values()):
        assert value not in repr(declared)


def test_every_variable_that_the_environment_expects_is_declared(tmp_path: Path) -> None:
    expected = load_environment("dev").services
    assert expected is not None
    assert set(expected.variables) == services.declare(tmp_path).variables.keys()


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_function_starts_with_what_is_declared_and_nothing_more_than_addresses(
    tmp_path: Path, name: str
) -> None:
    provider = dev(tmp_path / "dev")
    environment = load_environment("dev").supplied(provider.variables())
    spec = CATALOGUE[name]
    names = environment.secrets_of(spec)
    found = provider.secrets.describe(names)
    declared = services.declare(provider.layout.services)
    values = {**declared.secrets, **declared.suggested}
    given = {**environment.variables_of(spec), **{variable: values[variable] for variable in found}}
    given = {k: v if not v.startswith("${url:") else "http://127.0.0.1:1" for k, v in given.items()}
    match name:
        case "actions":
            load_actions(given)
        case "events":
            load_events(given)
        case _:
            load_lane(Lane(name), given)


def test_a_secret_that_somebody_chose_is_neither_replaced_nor_removed_with_the_services(
    tmp_path: Path,
) -> None:
    dev(tmp_path / "dev").secrets.put("GLM_API_KEY", "a key of one's own", request_id="own")
    provider = dev(tmp_path / "dev")
    chosen = provider.secrets.describe(["GLM_API_KEY"])["GLM_API_KEY"].current
    assert dev(tmp_path / "dev").secrets.describe(["GLM_API_KEY"])["GLM_API_KEY"].current == chosen
    provider.remove("paid_stream")  # the last function, and the services with it
    left = provider.secrets.describe(["GLM_API_KEY", "DEEPSEEK_API_KEY", "QSTASH_TOKEN", "REDIS_URL"])
    assert left.keys() == {"GLM_API_KEY"}


def test_data_and_rolled_keys_outlive_the_services(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    declared = services.declare(folder)
    pids: list[int] = []
    with services.run(folder, pids.append), plain_client(30) as client:
        store = TcpStore(declared.secrets["REDIS_URL"])
        store.command("SET", "kept", "1")
        store.close()
        before = _qstash(folder, client).keys()
        rolled = _qstash(folder, client).rotate()
        assert _answers(client, declared.variables["GLM_BASE_URL"])
    assert rolled.current == before.next
    with pytest.raises(OSError, match="No such process"):
        os.kill(pids[0], 0)
    with services.run(folder, pids.append), plain_client(30) as client:
        store = TcpStore(declared.secrets["REDIS_URL"])
        assert wait_for(lambda: store.command("GET", "kept")) in {"1", b"1"}
        store.close()
        assert _qstash(folder, client).keys() == rolled
    assert services.declare(folder).secrets["QSTASH_CURRENT_SIGNING_KEY"] == rolled.current


@pytest.mark.parametrize("module", ["no.such.module", "json"])
def test_a_module_that_is_no_services_is_refused_by_name(module: str) -> None:
    with pytest.raises(Refused, match=module):
        load_outside(module)


def _qstash(folder: Path, client: httpx.Client) -> QStash:
    declared = services.declare(folder)
    return QStash(declared.variables["QSTASH_URL"], declared.secrets["QSTASH_TOKEN"], client)


def _answers(client: httpx.Client, base_url: str) -> bool:
    body = {"model": "glm-4.5-flash", "messages": [{"role": "user", "content": "hello"}]}
    answer = client.post(f"{base_url}/chat/completions", json=body, headers={"Authorization": "Bearer dev"})
    return answer.status_code == 200
