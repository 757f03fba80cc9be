"""The supervisor: addresses that never change, revisions that are drained, crashes that are healed, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.responses import JSONResponse

from deployment.errors import MissingSecret, ProviderError, Refused, WorldMoved
from deployment.providers.local.control import Endpoint
from deployment.providers.local.guard import Guard
from deployment.providers.local.supervisor import Supervisor
from deployment.resources import Kind
from deployment.states import FunctionState, SecretPin
from devstack.serving import AppServer
from tests.integration.deployment.local_kit import (
    BROKEN_MAIN,
    PATIENCE_SECONDS,
    Place,
    kill,
    lives,
    wait_gone,
)
from tests.integration.http.stand_ins import plain_client, wait_for

ANY_PROCESS = {"HOME", "PATH", "LANG", "PYTHONUNBUFFERED", "THREADS", "PORT", "PWD", "OLDPWD"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An environment for tests that leave its supervisor alone; each makes functions of its own."""
    opened = Place(tmp_path_factory.mktemp("place"))
    yield opened
    opened.close()


@pytest.fixture
def own_place(tmp_path: Path) -> Iterator[Place]:
    """An environment for one test alone, whose supervisor it may kill."""
    opened = Place(tmp_path)
    yield opened
    opened.close()


# -- releasing ---------------------------------------------------------------------------------------------------------


def test_a_candidate_answers_at_an_address_of_its_own_before_the_functions_address_does(place: Place) -> None:
    name = place.new_function()
    fingerprint = place.publish(name)
    candidate = place.provider.candidate(name, fingerprint)
    assert place.client.get(candidate).status_code == 200
    assert place.call(name).status_code == 503
    assert place.provider.observe([name]).functions[name].live == {}
    place.provider.shift(name, {fingerprint: 100})
    assert place.call(name).status_code == 200
    assert place.provider.observe([name]).functions[name].live == {fingerprint: 100}


def test_a_function_finds_its_variables_and_its_pinned_secrets_and_nothing_else(place: Place) -> None:
    old, new = place.put_secret("KEY", "the old one"), place.put_secret("KEY", "the new one")
    name = place.new_function(secrets=("KEY",))
    place.released(name, variables={"ROUTE_URL": "http://x"}, secrets={"SIGNING_KEY": old})
    found = place.call(name).json()["environment"]
    assert found.keys() - ANY_PROCESS == {"ROUTE_URL", "SIGNING_KEY"}
    assert (found["ROUTE_URL"], found["SIGNING_KEY"]) == ("http://x", "the old one")
    assert found["THREADS"] == "4"
    assert new != old


def test_an_address_stays_while_what_is_behind_it_changes(place: Place) -> None:
    name, _first = place.released()
    url, pid = place.url(name), place.pid(name)
    place.released(name)
    assert place.url(name) == url
    assert place.pid(name) != pid
    wait_gone(pid)


def test_a_former_revision_ends_only_once_it_has_answered(place: Place) -> None:
    name, _first = place.released()
    pid, former = place.pid(name), next(iter(place.instances(name).values()))["port"]
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(_get(place.url(name) + "/slow").json()["pid"]))
    slow.start()
    wait_for(lambda: any(each["in_flight"] for each in place.instances(name).values()))
    place.released(name)
    assert place.pid(name) != pid
    assert lives(pid)
    _get(f"http://127.0.0.1:{former}/go")
    slow.join(PATIENCE_SECONDS)
    assert answers == [pid]
    wait_gone(pid)


def test_a_former_revision_that_never_answers_ends_with_its_time_out(place: Place) -> None:
    name, _first = place.released(timeout_seconds=1)
    pid = place.pid(name)
    slow = threading.Thread(target=lambda: _get(place.url(name) + "/slow"))
    slow.start()
    wait_for(lambda: any(each["in_flight"] for each in place.instances(name).values()))
    place.released(name)
    wait_gone(pid)
    slow.join(PATIENCE_SECONDS)


def test_calls_are_led_by_weight_and_a_return_starts_what_had_ended(place: Place) -> None:
    name, first = place.released()
    second = place.publish(name)
    place.provider.shift(name, {second: 25, first: 75})
    led = Counter(place.call(name).json()["pid"] for _ in range(8))
    assert sorted(led.values()) == [2, 6]
    place.provider.shift(name, {second: 100})
    wait_for(lambda: place.instances(name).keys() == {second} or None, seconds=PATIENCE_SECONDS)
    place.provider.shift(name, {first: 100})
    assert place.call(name).status_code == 200
    assert place.provider.observe([name]).functions[name].live == {first: 100}


def test_a_revision_that_does_not_start_is_refused_with_its_log_and_changes_nothing(place: Place) -> None:
    name, first = place.released()
    broken = place.publish(name, main=BROKEN_MAIN)
    with pytest.raises(ProviderError, match="a needed variable is missing"):
        place.provider.candidate(name, broken)
    with pytest.raises(ProviderError, match="a needed variable is missing"):
        place.provider.shift(name, {broken: 100})
    assert place.provider.observe([name]).functions[name].live == {first: 100}
    assert place.call(name).status_code == 200
    place.released(name)
    assert place.call(name).status_code == 200


def test_a_function_that_cannot_start_is_no_reason_for_another_to_fail(place: Place) -> None:
    broken, first = place.released()
    place.provider.forget_artefact(first.partition("-")[0])
    kill(place.pid(broken))
    wait_for(lambda: place.call(broken).status_code == 503)
    name, _revision = place.released()
    assert place.call(name).status_code == 200
    place.released(broken)  # and what puts it right is not refused because it is wrong
    assert place.call(broken).status_code == 200


def test_publishing_and_uploading_again_changes_nothing(place: Place) -> None:
    name, fingerprint = place.released()
    record = place.provider.observe([name])
    state = FunctionState.from_json(_recorded(place, name)["revisions"][0]["state"])
    place.provider.publish(state)
    assert place.provider.observe([name]) == record
    assert [each.fingerprint for each in record.functions[name].revisions] == [fingerprint]


def test_a_shift_to_nothing_or_of_a_part_alone_is_refused(place: Place) -> None:
    name, fingerprint = place.released()
    with pytest.raises(WorldMoved, match="no revision gone"):
        place.provider.shift(name, {"gone": 100})
    with pytest.raises(Refused, match="90 %"):
        place.provider.shift(name, {fingerprint: 90})


def test_a_revision_that_never_takes_calls_ends_after_a_while(own_place: Place) -> None:
    name, live = own_place.released()
    idle = own_place.publish(name)
    own_place.provider.end()

    async def supervise() -> None:
        supervisor = Supervisor(own_place.provider.layout, guard, hold_seconds=0.5)
        assert await supervisor.settle([(name, idle)]) == []
        assert supervisor.status()[name]["instances"].keys() == {live, idle}
        keeping = asyncio.create_task(supervisor.keep())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while supervisor.status()[name]["instances"].keys() != {live}:  # noqa: ASYNC110  # a poll with a deadline
                await asyncio.sleep(0.02)
        keeping.cancel()
        await supervisor.close()

    guard = Guard()
    try:
        asyncio.run(supervise())
    finally:
        guard.close()


def test_a_revision_is_pruned_unless_it_takes_calls(place: Place) -> None:
    name, first = place.released()
    place.released(name)
    one, two = place.provider.observe([name]).functions[name].revisions
    with pytest.raises(Refused, match="takes calls"):
        place.provider.prune(name, two.id)
    place.provider.prune(name, one.id)
    place.provider.prune(name, one.id)
    assert place.provider.observe([name]).functions[name].revisions == (two,)
    assert one.fingerprint == first
    # A number is never given out twice.
    place.released(name)
    assert [each.number for each in place.provider.observe([name]).functions[name].revisions] == [2, 3]


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_revision_may_not_hold_a_secret_that_its_identity_does_not(place: Place) -> None:
    name = place.new_function(secrets=("OWN",))
    foreign = place.put_secret("FOREIGN", "a-value-of-somebody-else")
    with pytest.raises(Refused, match="may not read FOREIGN") as refused:
        place.publish(name, secrets={"KEY": foreign})
    assert "a-value" not in str(refused.value)


def test_a_process_does_not_start_with_a_secret_that_was_taken_from_its_identity(place: Place) -> None:
    name = place.new_function(secrets=("KEY_2",))
    place.released(name, secrets={"KEY": place.put_secret("KEY_2", "value-2")})
    place.provider.ensure(name, Kind.IDENTITY, {"secrets": []})
    kill(place.pid(name))
    wait_for(lambda: place.call(name).status_code == 503)
    assert place.instances(name)
    with pytest.raises(ProviderError, match="may not read KEY_2"):
        place.provider.shift(name, place.provider.observe([name]).functions[name].live)


def test_a_version_that_is_gone_is_refused_before_anything_is_recorded(place: Place) -> None:
    name = place.new_function(secrets=("KEY_3",))
    with pytest.raises(MissingSecret, match="KEY_3"):
        place.publish(name, secrets={"KEY": SecretPin("KEY_3", "1-0000")})
    assert place.provider.observe([name]).functions[name].revisions == ()


# -- stopped, crashed, lost --------------------------------------------------------------------------------------------


def test_a_stopped_function_takes_no_calls_and_a_started_one_does(place: Place) -> None:
    name, _fingerprint = place.released()
    other, _fingerprint = place.released()
    place.provider.ensure(name, Kind.CAPACITY, {"stopped": True})
    assert (place.call(name).status_code, place.call(name).json()["error"]) == (503, "stopped")
    assert place.call(other).status_code == 200
    place.provider.ensure(name, Kind.CAPACITY, {"stopped": False})
    assert place.call(name).status_code == 200


def test_a_process_that_ends_by_itself_is_started_again(place: Place) -> None:
    name, _fingerprint = place.released()
    pid = place.pid(name)
    with pytest.raises(httpx.HTTPError):
        _get(f"http://127.0.0.1:{next(iter(place.instances(name).values()))['port']}/exit")
    assert place.pid(name) != pid
    assert sum(each["restarts"] for each in place.instances(name).values()) >= 1


def test_a_killed_supervisor_leaves_no_process_and_the_next_write_brings_everything_back(
    own_place: Place,
) -> None:
    name, fingerprint = own_place.released()
    url, pid, supervisor = own_place.url(name), own_place.pid(name), own_place.supervisor_pid
    kill(supervisor)
    wait_gone(supervisor, pid)
    again = own_place.opened_again()
    seen = again.observe([name]).functions[name]
    assert (seen.url, seen.live) == (url, {fingerprint: 100})
    assert seen.resources[Kind.ADDRESS].properties["served"] is False
    again.ensure(name, Kind.ADDRESS, {"host": "127.0.0.1", "served": True})
    assert own_place.url(name) == url
    assert own_place.call(name).status_code == 200
    assert again.observe([name]).functions[name].resources[Kind.ADDRESS].properties["served"] is True


def test_a_killed_guard_is_replaced_and_still_nothing_is_left_behind(own_place: Place) -> None:
    name, _fingerprint = own_place.released()
    first = own_place.pid(name)
    (guard,) = [
        pid
        for pid in _children(own_place.supervisor_pid)
        if "guard.py" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    kill(guard)
    wait_gone(guard)
    other, _fingerprint = own_place.released()
    pids = (first, own_place.pid(other), own_place.supervisor_pid)
    kill(own_place.supervisor_pid)
    wait_gone(*pids)


def test_a_supervisor_ends_in_order_when_it_is_asked_to(own_place: Place) -> None:
    name, _fingerprint = own_place.released()
    pid, supervisor = own_place.pid(name), own_place.supervisor_pid
    os.kill(supervisor, signal.SIGTERM)
    wait_gone(supervisor, pid)
    assert not (own_place.provider.layout.endpoint).exists()


def test_a_supervisor_ends_when_its_folder_is_removed(own_place: Place) -> None:
    name, _fingerprint = own_place.released()
    pids = own_place.pid(name), own_place.supervisor_pid
    shutil.rmtree(own_place.provider.layout.folder)
    wait_gone(*pids)


def test_a_file_that_names_another_process_is_not_taken_for_a_supervisor(own_place: Place) -> None:
    name, _fingerprint = own_place.released()
    kill(own_place.supervisor_pid)
    wait_for(lambda: own_place.provider.supervision.running() is None)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with AppServer(JSONResponse({}), name="stranger") as server:
            Endpoint(stranger.pid, server.port, "token").write(own_place.provider.layout.endpoint)
            assert own_place.provider.supervision.running() is None
        Endpoint(stranger.pid, 9, "token").write(own_place.provider.layout.endpoint)
        assert own_place.provider.supervision.running() is None
        own_place.provider.ensure(name, Kind.CAPACITY, {"stopped": False})
        assert own_place.call(name).status_code == 200
        own_place.provider.end()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_reading_starts_nothing_and_writes_nothing(own_place: Place) -> None:
    observed = own_place.provider.observe(["paid_stream"])
    own_place.provider.check()
    assert observed.functions == {}
    assert own_place.provider.supervision.running() is None
    assert not own_place.provider.layout.folder.exists()


def test_of_commands_that_start_it_at_once_one_supervisor_comes_of_it(own_place: Place) -> None:
    own_place.provider.ensure("paid_stream", Kind.IDENTITY, {"secrets": []})
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: own_place.opened_again().supervision.started().endpoint.pid, range(4))
        )
    assert len(set(found)) == 1


def test_an_address_that_somebody_else_listens_at_is_named(own_place: Place) -> None:
    name, _fingerprint = own_place.released()
    other, _fingerprint = own_place.released()
    port = int(own_place.url(name).rpartition(":")[2])
    own_place.provider.end()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(ProviderError, match=str(port)):
            own_place.provider.ensure(name, Kind.ADDRESS, {"host": "127.0.0.1", "served": True})
        own_place.released(other)  # which has nothing to do with it
    own_place.provider.ensure(name, Kind.ADDRESS, {"host": "127.0.0.1", "served": True})
    assert own_place.call(name).status_code == 200


def test_only_whoever_has_the_token_commands_the_supervisor(place: Place) -> None:
    place.new_function()
    endpoint = Endpoint.read(place.provider.layout.endpoint)
    assert endpoint is not None
    assert place.provider.layout.endpoint.stat().st_mode & 0o777 == 0o600
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = place.client.post(f"http://127.0.0.1:{endpoint.port}/end", headers=headers)
        assert answer.status_code == 401
    assert endpoint.token not in repr(endpoint)


def test_the_last_function_takes_the_supervisor_with_it_and_nothing_is_left(own_place: Place) -> None:
    own_place.put_secret("KEY", "value")
    names = [own_place.released()[0] for _ in range(2)]
    own_place.provider.objects.put("lock.json", b"{}")
    pids = [own_place.supervisor_pid, *(own_place.pid(name) for name in names)]
    own_place.provider.remove(names[0])
    assert own_place.provider.observe(names).functions.keys() == {names[1]}
    assert own_place.call(names[1]).status_code == 200
    own_place.provider.remove(names[1])
    own_place.provider.remove(names[1])
    wait_gone(*pids)
    assert own_place.provider.secrets.describe(["KEY"])  # its value may be nowhere else
    own_place.provider.secrets.remove("KEY")
    own_place.provider.objects.destroy()
    assert not own_place.provider.layout.folder.exists()


def _get(url: str) -> httpx.Response:
    with plain_client(PATIENCE_SECONDS) as client:
        return client.get(url)


def _recorded(place: Place, name: str) -> dict[str, list[dict[str, dict[str, object]]]]:
    document = json.loads((place.provider.layout.folder / "state.json").read_bytes())
    found: dict[str, list[dict[str, dict[str, object]]]] = document["functions"][name]
    return found


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
