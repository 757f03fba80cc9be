"""The calls that manage: messages, log, schedules, keys; and the stand-in as a program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx
import pytest
from qstash import QStash
from qstash.errors import QStashError
from qstash.log import LogState

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Recorder
from devstack.qstash.signing import DEV_KEYS, DEV_TOKEN


@pytest.fixture
def held(stand_in: QStashStandIn) -> QStashStandIn:
    """The stand-in while it delivers nothing."""
    stand_in.faults.hold = True
    return stand_in


@pytest.mark.usefixtures("held")
def test_an_open_message_is_shown_as_it_was_published(sdk: QStash, destination: Recorder) -> None:
    published = sdk.message.publish(
        url=f"{destination.url}/a",
        body=b"\xff",
        retries=5,
        retry_delay="1000",
        headers={"X-A": "1"},
        callback="http://callback/",
        failure_callback="http://failure/",
        flow_control={"key": "k", "parallelism": 2},
        label="l",
    )
    message = sdk.message.get(published.message_id)  # type: ignore[union-attr]
    assert (message.url, message.method, message.max_retries) == (f"{destination.url}/a", "POST", 5)
    assert (message.body, message.body_base64, message.label) == (None, "/w==", "l")
    assert (message.callback, message.failure_callback) == ("http://callback/", "http://failure/")
    assert message.headers is not None
    assert message.headers["X-A"] == ["1"]
    assert message.retry_delay_expression == "1000"
    assert message.flow_control is not None
    assert (message.flow_control.key, message.flow_control.parallelism, message.flow_control.period) == (
        "k",
        2,
        1,
    )
    assert message.flow_control.rate is None


def test_a_cancelled_message_is_gone_and_never_delivered(
    sdk: QStash, destination: Recorder, held: QStashStandIn
) -> None:
    message_id = sdk.message.publish(url=destination.url).message_id  # type: ignore[union-attr]
    sdk.message.cancel(message_id)
    held.wait_until_idle()
    held.faults.hold = False
    for call in (sdk.message.get, sdk.message.cancel):
        with pytest.raises(QStashError, match="404"):
            call(message_id)
    assert destination.deliveries == []


def test_cancelling_all_and_cancelling_by_label_count_what_they_cancelled(
    sdk: QStash, http: httpx.Client, destination: Recorder, held: QStashStandIn
) -> None:
    for label in ("a", "a", "b"):
        sdk.message.publish(url=destination.url, label=label)
    assert http.delete("/v2/messages", params={"label": "a"}).json() == {"cancelled": 2}
    assert sdk.message.cancel_all() == 1
    assert held.wait_until_idle()["canceled"] == 3


def test_an_empty_id_never_means_all(sdk: QStash, destination: Recorder, held: QStashStandIn) -> None:
    sdk.message.publish(url=destination.url)
    for call in (
        lambda: sdk.message.cancel(""),
        lambda: sdk.message.cancel_many([]),
        lambda: sdk.dlq.delete(""),
    ):
        with pytest.raises(QStashError, match="empty id"):
            call()
    assert held.state()["open"] == 1


def test_the_log_tells_a_messages_life_newest_first(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    message_id = sdk.message.publish(url=destination.url, body="b").message_id  # type: ignore[union-attr]
    sdk.message.publish(url=destination.url)
    stand_in.wait_until_idle()
    logs = sdk.log.list(filter={"message_id": message_id}).logs
    assert [log.state for log in logs] == [LogState.DELIVERED, LogState.ACTIVE, LogState.CREATED]
    assert {log.body_base64 for log in logs} == {"Yg=="}
    assert len(sdk.log.list(filter={"state": LogState.DELIVERED}).logs) == 2
    page = sdk.log.list(count=4)
    assert (len(page.logs), len(sdk.log.list(cursor=page.cursor).logs)) == (4, 2)


def test_a_schedule_publishes_at_each_minute_of_its_cron_until_it_is_deleted(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """A minute is 0.6 s here."""
    schedule_id = sdk.schedule.create(
        destination=f"{destination.url}/callbacks/sweep", cron="* * * * *", body="b", retries=1
    )
    first, second = destination.wait_for(2)[:2]
    assert (first.target, first.body, first.headers["upstash-schedule-id"]) == (
        "/callbacks/sweep",
        b"b",
        schedule_id,
    )
    assert first.message_id != second.message_id
    (schedule,) = sdk.schedule.list()
    assert (schedule.cron, schedule.destination, schedule.retries) == (
        "* * * * *",
        f"{destination.url}/callbacks/sweep",
        1,
    )
    assert schedule.last_schedule_time is not None
    assert schedule.next_schedule_time is not None
    assert schedule.last_schedule_time < schedule.next_schedule_time
    sdk.schedule.delete(schedule_id)
    assert (sdk.schedule.list(), stand_in.state()["schedules"]) == ([], 0)


def test_a_schedule_is_replaced_paused_and_resumed_by_its_id(sdk: QStash, http: httpx.Client) -> None:
    for cron in ("0 0 * * *", "CRON_TZ=Asia/Shanghai */5 * * * *"):
        sdk.schedule.create(destination="http://h/", cron=cron, schedule_id="sweep", body="b")
    assert [s.cron for s in sdk.schedule.list()] == ["CRON_TZ=Asia/Shanghai */5 * * * *"]
    sdk.schedule.pause("sweep")
    assert sdk.schedule.get("sweep").paused
    assert http.post("/v2/schedules/sweep/resume").status_code == 200
    assert not sdk.schedule.get("sweep").paused
    with pytest.raises(QStashError, match="404"):
        sdk.schedule.delete("other")


def test_a_paused_schedule_publishes_nothing(sdk: QStash, destination: Recorder) -> None:
    """Beside it another with the same cron tells that its minutes have come."""
    for name in ("paused", "running"):
        sdk.schedule.create(
            destination=f"{destination.url}/{name}", cron="* * * * *", schedule_id=name, body="b"
        )
    sdk.schedule.pause("paused")
    seen = [delivery.target for delivery in destination.wait_for(4)]
    assert seen[-2:] == ["/running", "/running"]


@pytest.mark.parametrize(
    ("destination_url", "cron"), [("http://h/", "every day"), ("http://h/", ""), ("h", "* * * * *")]
)
def test_a_malformed_schedule_is_refused(sdk: QStash, destination_url: str, cron: str) -> None:
    with pytest.raises(QStashError, match="400"):
        sdk.schedule.create(destination=destination_url, cron=cron, body="b")


def test_the_keys_are_the_public_ones_of_user_1_unless_others_are_given(sdk: QStash) -> None:
    """So that the JavaScript SDK's development mode takes this server for its own."""
    keys = sdk.signing_key.get()
    assert (keys.current, keys.next) == (DEV_KEYS.current, DEV_KEYS.next)
    rotated = sdk.signing_key.rotate()
    assert rotated.current == keys.next
    assert re.fullmatch(r"sig_\w{28}", rotated.next)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v2/nothing", 404), ("PUT", "/v2/keys", 405)]
)
def test_what_is_not_there_is_said_so(http: httpx.Client, method: str, path: str, status: int) -> None:
    assert http.request(method, path).status_code == status


def test_the_same_seed_gives_the_same_ids(destination: Recorder) -> None:
    def first_id() -> str:
        with QStashStandIn(seed=7) as stand_in:
            headers = {"Authorization": f"Bearer {stand_in.token}", "Upstash-Delay": "1h"}
            answer = httpx.post(f"{stand_in.url}/v2/publish/{destination.url}", headers=headers)
        return str(answer.json()["messageId"])

    assert first_id() == first_id()


def test_it_runs_as_a_program_and_ends_on_sigterm(destination: Recorder) -> None:
    command = [sys.executable, "-m", "devstack.qstash", "--port", "0", "--time-scale", "0.01", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"running at (\S+)", line)
        assert address, line
        headers = {"Authorization": f"Bearer {DEV_TOKEN}", "Upstash-Delay": "10s"}
        httpx.post(f"{address[1]}/v2/publish/{destination.url}", headers=headers).raise_for_status()
        destination.wait_for(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
