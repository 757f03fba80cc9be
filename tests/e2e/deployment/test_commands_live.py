"""The command on real processes of built bundles: two at once, interrupted, killed, stopped, rolled back.

What every environment of these tests ends with is a test too: `destroy` leaves no process, port or folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from deployment.ledger import releases
from deployment.lock import read_lock
from tests.e2e.deployment.live_kit import PATIENCE_SECONDS, Live, live
from tests.integration.http.stand_ins import wait_for

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def shared_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("commands")) as opened:
        opened.run("apply")
        yield opened


@pytest.fixture
def environment(shared_environment: Live) -> Iterator[Live]:
    """The environment, as the first release left it."""
    shared_environment.set_variable("INITIAL_QUOTA", "8")
    shared_environment.run("apply")
    yield shared_environment
    holder = read_lock(shared_environment.provider.objects)
    if holder is not None:
        shared_environment.run("unlock", "--id", holder.id)


def shares(environment: Live) -> dict[str, dict[str, int]]:
    found = environment.json("status")["functions"]
    return {name: each["live"] for name, each in found.items()}


def told(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return how a command ended and what it said."""
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out, err


def interrupted_in_canary(environment: Live, number: int) -> tuple[int, str]:
    """Apply a change in parts, end the command while calls go both ways, and return how it ended."""
    environment.set_variable("INITIAL_QUOTA", "9")
    process = environment.start("apply", "--canary", "10,100", "--wait", "600")
    wait_for(lambda: len(shares(environment)["actions"]) == 2, seconds=PATIENCE_SECONDS)
    process.send_signal(number)
    status, _out, err = told(process)
    return status, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_a_canary_that_is_interrupted_goes_back_and_leaves_the_lock_free(
    environment: Live, number: signal.Signals
) -> None:
    before = shares(environment)
    status, err = interrupted_in_canary(environment, number)
    assert status == 130, err
    assert "led back to what was live before" in err
    assert shares(environment) == before
    assert read_lock(environment.provider.objects) is None


def test_of_two_applies_at_once_one_proceeds_and_the_other_says_who_holds_the_lock(environment: Live) -> None:
    environment.set_variable("INITIAL_QUOTA", "10")
    before = len(releases(environment.provider.objects))
    first = environment.start("apply", "--canary", "10,100", "--wait", "3")
    holder = wait_for(lambda: read_lock(environment.provider.objects), seconds=PATIENCE_SECONDS)
    second = environment.start("apply")
    refused = told(second)
    done = told(first)
    assert (done[0], refused[0]) == (0, 1), (done, refused)
    assert f"pid {first.pid}" in refused[2]
    assert f"unlock --id {holder.id}" in refused[2]
    assert len(releases(environment.provider.objects)) == before + 1


def test_a_stopped_function_alone_takes_no_calls_and_the_processes_of_all_others_go_on(
    environment: Live,
) -> None:
    before, urls = environment.processes(), environment.urls()
    environment.set_variable("INITIAL_QUOTA", "11")
    process = environment.start("apply", "--canary", "10,100", "--wait", "600")
    wait_for(lambda: read_lock(environment.provider.objects), seconds=PATIENCE_SECONDS)
    environment.run("stop", "free_batch", "--why", "a trial")  # while somebody else deploys
    assert environment.client.get(f"{urls['free_batch']}/healthz").status_code == 503
    process.send_signal(signal.SIGINT)
    status, _out, err = told(process)
    assert status == 130, err
    environment.set_variable("INITIAL_QUOTA", "8")
    environment.run("apply")
    assert environment.json("status")["functions"]["free_batch"]["stopped"]
    environment.run("start", "free_batch")
    assert environment.json("verify")["ok"]
    after = environment.processes()
    assert {name: after[name] for name in after if name != "actions"} == {
        name: before[name] for name in before if name != "actions"
    }
    assert environment.urls() == urls


def test_killed_at_many_moments_of_an_apply_the_next_one_ends_right(environment: Live) -> None:
    for number, line in enumerate(("[2/", "[3/", "[4/"), start=20):
        environment.set_variable("INITIAL_QUOTA", str(number))
        process = environment.start("apply")
        assert process.stderr is not None
        for said in process.stderr:
            if said.startswith(line):
                os.kill(process.pid, signal.SIGKILL)
                break
        process.communicate(timeout=PATIENCE_SECONDS)
        holder = read_lock(environment.provider.objects)
        if holder is not None:  # else it had ended by itself before it could be killed
            environment.run("unlock", "--id", holder.id)
        environment.run("apply")
        newest = releases(environment.provider.objects)[0]
        assert newest.states["actions"].variables["INITIAL_QUOTA"] == str(number)
        observed = environment.provider.observe(["actions"]).functions["actions"]
        assert observed.live == {newest.states["actions"].fingerprint: 100}
    assert environment.json("drift")["steps"] == []
    assert environment.json("verify")["ok"]


def test_a_rollback_brings_the_whole_release_back_and_pruning_keeps_what_it_needs(environment: Live) -> None:
    first = releases(environment.provider.objects)[0]
    secret = environment.secret("STREAM_TOKEN_SECRET")
    environment.run("secrets", "set", "STREAM_TOKEN_SECRET", given="another-stream-token-secret-of-the-test")
    environment.set_variable("INITIAL_QUOTA", "30")
    environment.run("apply")
    answer = environment.json("rollback")
    assert answer["verification"]["ok"]
    newest = releases(environment.provider.objects)[0]
    assert newest.states == first.states
    assert newest.note == f"rollback to {first.number}"
    assert environment.secret("STREAM_TOKEN_SECRET") != secret
    environment.run("secrets", "set", "STREAM_TOKEN_SECRET", given=secret)


def test_no_function_logs_a_value_of_a_secret(environment: Live) -> None:
    environment.run("verify")
    values = {
        environment.secret(name)
        for name in environment.json("secrets", "list")
        if value_of(environment, name)
    }
    texts = {path: path.read_text(errors="replace") for path in (environment.folder / "logs").glob("*.log*")}
    kept = {
        p: p.read_text(errors="replace") for p in (environment.folder / "objects").rglob("*") if p.is_file()
    }
    state = environment.folder / "state.json"
    assert len(values) > 5
    assert any(texts.values())
    for path, text in {**texts, **kept, state: state.read_text()}.items():
        assert not any(value in text for value in values), path


def value_of(environment: Live, name: str) -> Any:
    return environment.provider.secrets.describe([name]).get(name)
