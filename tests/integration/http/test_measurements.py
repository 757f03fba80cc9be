"""What `actions` and the lanes measure of a task's way, where it is not straight: refusals, takeovers, ends, refunds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.collector import Collector, Fault
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.telemetry import instruments
from shared.telemetry.instruments import Instrument
from shared.telemetry.signals import held
from tests.integration.http.kit import RESUME, World
from tests.integration.http.stand_ins import Fault as PublishFault
from tests.integration.http.stand_ins import failing
from tests.telemetry_kit import Memory, recording_to, remembering
from tests.unit.telemetry.test_exporting import settings


@pytest.fixture
def memory() -> Iterator[Memory]:
    with remembering() as remembered:
        yield remembered


def told(memory: Memory, instrument: Instrument) -> dict[str, float]:
    """Return an instrument's values by what it tells them apart by, in one word each."""
    values = memory.values(instrument).items()
    return {" ".join(sorted(str(value) for _, value in about)): value for about, value in values}


def test_a_task_that_ends_done_is_counted_once_and_nothing_is_refunded(memory: Memory, world: World) -> None:
    _, publish = world.start()
    world.finish(publish)
    assert world.deliver(publish).json() == {"status": "duplicate"}
    assert told(memory, instruments.ENDED) == {"done paid": 1}
    assert told(memory, instruments.ATTEMPTS) == {"done paid_batch": 1}
    assert told(memory, instruments.RUNNING) == {"deepseek-chat paid paid_batch": 0}
    assert told(memory, instruments.REFUNDS) == {}


def test_a_task_that_fails_is_counted_with_its_error_and_refunded(memory: Memory, world: World) -> None:
    world.model.acts.append(failing(PermanentTaskError("provider_refused", "The provider refused this.")))
    _, publish = world.start()
    assert world.deliver(publish).status_code == 489
    assert told(memory, instruments.ENDED) == {"failed paid provider_refused": 1}
    assert told(memory, instruments.REFUNDS) == {"failed provider_refused": 1}
    assert memory.span("fail").attributes == {"sluice.outcome": "failed"}


def test_a_claim_that_finds_another_attempt_is_a_refusal_and_one_that_finds_it_dead_a_takeover(
    memory: Memory, world: World
) -> None:
    accepted, publish = world.start()
    world.claim(publish)
    assert world.deliver(publish).status_code == 429
    assert told(memory, instruments.CLAIM_REFUSALS) == {"busy paid_batch": 1}
    assert told(memory, instruments.TAKEOVERS) == {}
    world.lapse_lease(accepted["taskId"])
    world.finish(publish)
    assert told(memory, instruments.TAKEOVERS) == {"paid_batch": 1}


def test_an_attempt_that_was_given_back_is_repeated_and_not_taken_over(memory: Memory, world: World) -> None:
    world.model.acts.append(failing(RetryableTaskError("provider_error", "The provider failed.")))
    _, publish = world.start()
    assert world.deliver(publish).status_code == 503
    world.finish(publish)
    assert told(memory, instruments.TAKEOVERS) == {}
    assert told(memory, instruments.ATTEMPTS) == {
        "paid_batch provider_error retrying": 1,
        "done paid_batch": 1,
    }


def test_admissions_are_told_apart_by_what_they_came_to(memory: Memory, world: World) -> None:
    world.change(USER_MAX_ACTIVE="1")
    for key in ("k", "k", "other"):
        world.ask("upload-resume", {"text": RESUME}, key=key)
    assert told(memory, instruments.ADMISSIONS) == {
        "accepted paid paid_batch upload-resume": 1,
        "replay upload-resume": 1,
        "upload-resume user_busy": 1,
    }


def test_a_task_that_a_sweep_or_its_user_ends_is_counted_once(memory: Memory, world: World) -> None:
    cancelled, _ = world.start(user="bea")
    for _ in range(2):
        world.cancel(cancelled["taskId"], user="bea")
    assert told(memory, instruments.ENDED) == {"cancelled paid": 1}
    assert told(memory, instruments.REFUNDS) == {"cancelled": 1}


def test_a_publish_that_fails_is_a_failed_span_and_ends_its_task(memory: Memory, world: World) -> None:
    world.qstash.faults.extend([PublishFault(500, accepted=False)] * 2)
    assert world.ask("upload-resume", {"text": RESUME}).status_code == 503
    publish = memory.span("publish paid_batch")
    assert publish.attributes is not None
    assert publish.attributes["error.type"] == "publish_failed"
    assert told(memory, instruments.ENDED) == {"failed paid publish_failed": 1}
    assert told(memory, instruments.SENT) == {"paid_batch publish publish_failed qstash": 1}


def test_the_commands_of_a_delivery_are_those_that_redis_was_sent(memory: Memory, world: World) -> None:
    _, publish = world.start()
    before = commands(world)
    world.finish(publish)
    process = memory.span("process paid_batch")
    assert process.attributes is not None
    assert process.attributes["sluice.store.commands"] == commands(world) - before


def commands(world: World) -> int:
    """Return how many commands Redis has been sent, apart from what scripts do inside, and from asking this."""
    stats = world.store.command("INFO", "commandstats")
    counts = {
        line.split(":")[0]: int(line.split("calls=")[1].split(",")[0])
        for line in stats.split()
        if "calls=" in line
    }
    return sum(counts.get(f"cmdstat_{name}", 0) for name in ("evalsha", "eval"))


def test_the_message_carries_the_span_of_its_publish(memory: Memory, world: World) -> None:
    _, publish = world.start()
    span = memory.span("publish paid_batch")
    assert publish.message["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]


@pytest.mark.parametrize("fault", [Fault.HANGS, Fault.ANSWERS_500, None])
def test_a_task_ends_done_and_is_charged_once_whatever_is_wrong_with_the_collector(
    world: World, fault: Fault | None
) -> None:
    """None: there is none at all."""
    with Collector(fault=fault) as collector:
        url = collector.url if fault else "http://127.0.0.1:1"
        with held(recording_to(settings(url, settle_seconds=0.05))):
            for _ in range(2):
                accepted, publish = world.start()
                world.finish(publish)
                assert world.report("step", publish).status_code == 200
                assert world.record(accepted["taskId"])["state"] == "done"
            if fault:
                collector.wait_for(lambda: collector.requests > 0)
    assert world.balance() == 6
