"""QStash as deploying sees it, against the stand-in: keys are rolled once, the schedule is written only when needed."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from deployment.errors import ProviderError
from deployment.qstash import QStash, SweepSchedule, cron_of, sweep_properties
from devstack.qstash import QStashStandIn

TOKEN = "a-token-that-nobody-may-read-0001"
URLS = {"actions": "http://127.0.0.1:9"}
WANTED = sweep_properties(5, URLS)


class Requests(list[str]):
    """Every request that was sent, as `METHOD path`."""

    def note(self, request: httpx.Request) -> None:
        self.append(f"{request.method} {request.url.path}")

    @property
    def writes(self) -> list[str]:
        return [request for request in self if not request.startswith("GET")]


@pytest.fixture
def stand_in() -> Iterator[QStashStandIn]:
    with QStashStandIn(token=TOKEN) as qstash:
        yield qstash


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def client(requests: Requests) -> Iterator[httpx.Client]:
    with httpx.Client(event_hooks={"request": [requests.note]}) as opened:
        yield opened


@pytest.fixture
def qstash(stand_in: QStashStandIn, client: httpx.Client) -> QStash:
    return QStash(stand_in.url, TOKEN, client, wait=lambda _seconds: None)


@pytest.fixture
def schedule(qstash: QStash) -> SweepSchedule:
    return SweepSchedule(qstash, "dev")


def test_the_keys_are_those_that_qstash_signs_with_before_and_after_a_roll(
    qstash: QStash, stand_in: QStashStandIn
) -> None:
    before = qstash.keys()
    assert before == stand_in.signing_keys
    rolled = qstash.rotate()
    assert rolled.current == before.next
    assert qstash.keys() == rolled == stand_in.signing_keys


def test_a_roll_whose_answer_is_lost_is_not_sent_again(stand_in: QStashStandIn) -> None:
    before, sent = stand_in.signing_keys, []

    def lose(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        stand_in.rotate_signing_keys()
        raise httpx.ReadTimeout("lost", request=request)

    with httpx.Client(transport=httpx.MockTransport(lose)) as lossy, pytest.raises(ProviderError):
        QStash(stand_in.url, TOKEN, lossy).rotate()
    assert len(sent) == 1
    assert stand_in.signing_keys.current == before.next


def test_a_read_is_asked_again_when_the_network_fails(stand_in: QStashStandIn) -> None:
    failures = [httpx.ConnectError("cut"), httpx.ReadError("cut")]

    def answer(request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return httpx.Response(200, json={"current": "sig_1", "next": "sig_2"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        keys = QStash(stand_in.url, TOKEN, client, wait=lambda _seconds: None).keys()
    assert (keys.current, keys.next) == ("sig_1", "sig_2")


def test_the_schedule_is_made_and_then_observed_as_it_was_wanted(
    schedule: SweepSchedule, requests: Requests
) -> None:
    assert schedule.observe() is None
    schedule.ensure(WANTED)
    observed = schedule.observe()
    assert observed is not None
    assert observed.properties == WANTED
    assert requests.writes == ["POST /v2/schedules/http://127.0.0.1:9/callbacks/sweep"]


def test_a_schedule_that_is_as_it_should_be_is_not_written(
    schedule: SweepSchedule, requests: Requests
) -> None:
    schedule.ensure(WANTED)
    requests.clear()
    schedule.ensure(WANTED)
    assert requests.writes == []


@pytest.mark.parametrize("changed", [{"cron": "*/7 * * * *"}, {"destination": "http://127.0.0.1:8/x"}])
def test_a_schedule_that_somebody_changed_is_seen_and_brought_back(
    schedule: SweepSchedule, qstash: QStash, changed: dict[str, str]
) -> None:
    schedule.ensure({**WANTED, **changed})
    observed = schedule.observe()
    assert observed is not None
    assert {name for name in WANTED if observed.properties[name] != WANTED[name]} == set(changed)
    schedule.ensure(WANTED)
    again = schedule.observe()
    assert again is not None
    assert again.properties == WANTED


def test_a_schedule_that_somebody_paused_runs_again(
    schedule: SweepSchedule, qstash: QStash, client: httpx.Client, requests: Requests
) -> None:
    """Also where writing a schedule again would leave it paused, as the stand-in does not."""
    schedule.ensure(WANTED)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client.post(f"{qstash.url}/v2/schedules/{schedule.id}/pause", headers=headers).raise_for_status()
    paused = schedule.observe()
    assert paused is not None
    assert paused.properties == {**WANTED, "paused": "yes"}
    schedule.ensure(WANTED)
    resumed = schedule.observe()
    assert resumed is not None
    assert resumed.properties == WANTED
    assert requests.writes[-1] == f"POST /v2/schedules/{schedule.id}/resume"


def test_each_environment_has_a_schedule_of_its_own(qstash: QStash, schedule: SweepSchedule) -> None:
    schedule.ensure(WANTED)
    assert SweepSchedule(qstash, "staging").observe() is None
    SweepSchedule(qstash, "staging").remove()  # of none: no error
    assert schedule.observe() is not None
    schedule.remove()
    assert schedule.observe() is None


def test_a_wrong_token_is_told_by_its_secrets_name_and_never_shown(
    stand_in: QStashStandIn, client: httpx.Client
) -> None:
    with pytest.raises(ProviderError, match="QSTASH_TOKEN") as refused:
        QStash(stand_in.url, "wrong-token-value", client).keys()
    assert "wrong-token-value" not in str(refused.value)
    assert "wrong-token-value" not in repr(QStash(stand_in.url, "wrong-token-value", client))


def test_what_a_server_repeats_of_the_token_is_not_repeated() -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, text=f"bad request: {request.headers['Authorization']}")

    with httpx.Client(transport=httpx.MockTransport(echo)) as client, pytest.raises(ProviderError) as refused:
        QStash("http://qstash.example", TOKEN, client).rotate()
    assert "400" in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"current": "sig_1"}'])
def test_an_answer_that_is_not_qstashs_is_named_as_such(body: str) -> None:
    with (
        httpx.Client(
            transport=httpx.MockTransport(lambda _request: httpx.Response(200, text=body))
        ) as client,
        pytest.raises(ProviderError, match=r"QStash"),
    ):
        QStash("http://qstash.example", TOKEN, client).keys()


def test_an_unreachable_qstash_is_an_error_and_one_that_is_still_to_be_started_has_no_schedule() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with httpx.Client(transport=httpx.MockTransport(refuse)) as client:
        qstash = QStash("http://qstash.example", TOKEN, client, wait=lambda _seconds: None)
        with pytest.raises(ProviderError, match=r"http://qstash\.example"):
            SweepSchedule(qstash, "dev").observe()
        assert SweepSchedule(qstash, "dev", absent_when_unreachable=True).observe() is None


def test_a_destination_is_a_reference_while_the_address_is_not_known() -> None:
    assert sweep_properties(5)["destination"] == "${url:actions}/callbacks/sweep"


@pytest.mark.parametrize(
    ("minutes", "cron"),
    [
        (0.2, "*/1 * * * *"),
        (1, "*/1 * * * *"),
        (5, "*/5 * * * *"),
        (59.9, "*/59 * * * *"),
        (60, "0 */1 * * *"),
        (150, "0 */2 * * *"),
        (2000, "0 0 * * *"),
    ],
)
def test_the_cron_expression_fires_at_least_as_often_as_asked(minutes: float, cron: str) -> None:
    assert cron_of(minutes) == cron
