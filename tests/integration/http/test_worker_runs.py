"""One delivery from start to answer: what QStash is told, what the user sees, and what is given back."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.valkey import EmbeddedValkey, free_port
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.llm.runner import Outcome
from shared.routing import Model, Template
from shared.state import keys
from tests.integration.http.kit import JOB, RESUME, World, data_url
from tests.integration.http.stand_ins import MATCH_TEXT, RESULTS, Running, failing, succeed, wait_for


def assert_all_given_back(world: World) -> None:
    assert world.slot_holders() == 0
    assert world.places() == 0
    assert world.store.command("ZCARD", keys.OPEN_TASKS) == 0


def test_a_structured_task_ends_done_with_its_result_where_it_is_read(world: World) -> None:
    accepted, publish = world.start()
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()) == (200, {"status": "done"})
    result = dict(RESULTS[Template.RESUME_SUMMARY])
    assert world.get(f"/tasks/{accepted['taskId']}").json()["result"] == result
    assert world.get("/resume").json()["summary"] == result
    assert world.event_types(accepted["taskId"]) == ["queued", "start", "done"]
    assert_all_given_back(world)


def test_a_streamed_task_shows_every_token_and_ends_with_the_same_text(world: World) -> None:
    """D29."""
    service_id = world.with_match()
    task_id = world.get(f"/services/{service_id}").json()
    accepted, publish = world.start("interview-tips", {"serviceId": service_id})
    world.finish(publish)
    done = world.events(accepted["taskId"])[-1]
    assert (
        world.text(accepted["taskId"]) == done["result"]["text"] == RESULTS[Template.INTERVIEW_PREP]["text"]
    )
    assert done["textLength"] == len(done["result"]["text"])
    assert task_id["match"] == {"text": MATCH_TEXT, "score": 81}
    assert task_id["score"] == 81
    assert_all_given_back(world)


def test_a_done_event_says_what_was_used_and_how_long_it_took(world: World) -> None:
    accepted, publish = world.start()
    world.finish(publish)
    done = world.events(accepted["taskId"])[-1]
    assert done["usage"]["totalTokens"] == 12
    assert done["latencyMs"] >= 0
    assert done["attempt"] == 1


def test_d27_the_model_gets_what_the_record_and_the_services_hold(world: World) -> None:
    """D27: what is named is there, and no message carried it."""
    service_id = world.with_match()
    for action in ("customize-resume", "interview-tips"):
        world.finish(world.start(action, {"serviceId": service_id})[1])
    summary, match, customize, interview = world.model.calls
    assert summary.inputs == {"resume_text": RESUME}
    assert match.inputs == {"resume": dict(RESULTS[Template.RESUME_SUMMARY]), "detailed": None, "job": JOB}
    assert customize.inputs["match"] == MATCH_TEXT
    assert interview.inputs["customized"] == dict(RESULTS[Template.RESUME_CUSTOMIZE])
    assert [call.model for call in (summary, match)] == [Model.DEEPSEEK_CHAT, Model.DEEPSEEK_REASONER]


def test_an_image_is_read_at_the_first_step_and_matched_at_the_second(world: World) -> None:
    """D17: the match waits for the advertisement; the step callback publishes it."""
    world.with_resume()
    accepted, vision = world.start("create-service", {"jobImage": data_url()})
    [stored] = [path.read_bytes() for path in world.blobs.rglob("*") if path.is_file()]
    world.finish(vision)
    assert world.record(accepted["taskId"])["state"] == "queued"
    assert world.report("step", vision).json() == {"ok": True, "status": "published"}
    world.finish(world.qstash.published[-1])
    read, matched = world.model.calls[1:]
    assert read.inputs == {"image": stored, "image_type": "image/png"}
    assert matched.inputs["job"] == dict(RESULTS[Template.JOB_VISION_SUMMARY])
    assert world.event_types(accepted["taskId"])[:5] == ["queued", "start", "step_result", "queued", "start"]
    assert world.text(accepted["taskId"]) == MATCH_TEXT
    service = world.get(f"/services/{accepted['serviceId']}").json()
    assert (service["title"], service["score"]) == ("Engine programmer", 81)
    assert_all_given_back(world)


def test_a_duplicate_delivery_runs_nothing(world: World) -> None:
    """D16."""
    _, publish = world.start()
    world.finish(publish)
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()) == (200, {"status": "duplicate"})
    assert len(world.model.calls) == 1


def test_a_message_of_a_step_that_is_over_is_a_duplicate(world: World) -> None:
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    world.finish(vision)
    assert world.deliver(vision).json() == {"status": "duplicate"}


def test_a_delivery_while_another_runs_is_told_when_to_come_back(world: World) -> None:
    """D16: the same message twice at once runs once."""
    _, publish = world.start()
    running, go_on = threading.Event(), threading.Event()

    def wait(act: Running) -> Outcome:
        running.set()
        go_on.wait(10)
        return succeed(act)

    world.model.acts.append(wait)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(world.deliver, publish)
        running.wait(10)
        busy = world.deliver(publish)
        go_on.set()
        assert first.result().json() == {"status": "done"}
    assert (busy.status_code, busy.json()) == (429, {"status": "busy"})
    assert 1 <= int(busy.headers["Retry-After"]) <= 30
    assert len(world.model.calls) == 1


def test_without_a_free_slot_the_user_sees_backpressure_and_the_task_goes_through_later(world: World) -> None:
    """D12, D13: a full slot loses nothing, and is no error that the user sees."""
    world.change(MODEL_SLOTS=json.dumps({"deepseek-chat:paid": 1}))
    _, holding = world.start()
    accepted, waiting = world.start()
    assert world.claim(holding).status == "claimed"
    answer = world.deliver(waiting)
    assert (answer.status_code, answer.json()) == (429, {"status": "no_slot"})
    backpressure = world.events(accepted["taskId"])[-1]
    assert backpressure["type"] == "backpressure"
    assert backpressure["retryAfter"] == int(answer.headers["Retry-After"])
    assert world.record(accepted["taskId"])["attempt"] == "0"

    world.lapse_lease(holding.message["taskId"])
    world.finish(waiting)


def test_a_task_that_waited_beyond_its_budget_ends_refunded_and_is_not_delivered_again(world: World) -> None:
    world.change(MAX_WAIT_SECONDS_BATCH="0.001")
    accepted, publish = world.start()
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()) == (200, {"status": "wait_timeout"})
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["error"]["code"], status["refunded"]) == ("wait_timeout", True)
    assert world.balance() == 8
    assert_all_given_back(world)


def test_a_cancel_in_mid_stream_stops_the_model_and_nothing_more_is_written(world: World) -> None:
    """A cancel is the stop button: the next write is refused, the provider's call closed, the slot given back."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    streaming = threading.Event()

    def stream(act: Running) -> Outcome:
        act.on_text("score: 50\n")
        streaming.set()
        wait_for(lambda: act.on_text("more "))  # until the fence refuses one
        return succeed(act)

    world.model.acts.append(stream)
    with ThreadPoolExecutor() as pool:
        delivery = pool.submit(world.deliver, publish)
        streaming.wait(10)
        assert world.cancel(accepted["taskId"]).json()["state"] == "cancelled"
        answer = delivery.result()
    assert (answer.status_code, answer.json()) == (200, {"status": "superseded"})
    assert world.event_types(accepted["taskId"])[-1] == "cancelled"
    assert world.balance() == 8 - 1
    assert_all_given_back(world)


def test_a_cancel_while_the_model_is_silent_closes_its_call(world: World) -> None:
    world.change(LEASE_SECONDS="0.2")
    accepted, publish = world.start()
    silent = threading.Event()
    stopped: list[BaseException] = []

    def say_nothing(act: Running) -> Outcome:
        silent.set()
        try:
            act.wait_until_stopped()
        except Exception as error:
            stopped.append(error)
            raise
        return succeed(act)

    world.model.acts.append(say_nothing)
    with ThreadPoolExecutor() as pool:
        delivery = pool.submit(world.deliver, publish)
        silent.wait(10)
        world.cancel(accepted["taskId"])
        assert delivery.result().json() == {"status": "superseded"}
    assert [type(error).__name__ for error in stopped] == ["AttemptLost"]
    assert_all_given_back(world)


def test_an_attempt_whose_lease_lapsed_unnoticed_is_taken_over_and_leaves_no_trace_in_the_text(
    world: World,
) -> None:
    """D5: the late worker writes nothing more, gives back no slot but its own, and is told 200."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    streaming = threading.Event()

    def sleep_through(act: Running) -> Outcome:
        act.on_text("score: 1\nstale ")
        streaming.set()
        wait_for(lambda: len(world.model.calls) == 3)
        wait_for(lambda: act.on_text("zombie "))
        return succeed(act)

    world.model.acts.append(sleep_through)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(world.deliver, publish)
        streaming.wait(10)
        world.lapse_lease(accepted["taskId"])
        assert world.deliver(publish).json() == {"status": "done"}
        assert late.result().json() == {"status": "superseded"}
    assert world.text(accepted["taskId"]) == MATCH_TEXT
    assert world.events(accepted["taskId"])[-1]["attempt"] == 2
    assert_all_given_back(world)


def test_a_lease_lost_to_others_with_nobody_on_the_task_is_retried_and_not_dropped(world: World) -> None:
    """A lapsed lease whose slot went to another task: the message must come again, for nobody else has the task."""
    world.change(LEASE_SECONDS="0.3", MODEL_SLOTS=json.dumps({"deepseek-chat:paid": 1}))
    accepted, publish = world.start()
    _, other = world.start()
    silent = threading.Event()

    def lose_the_lease(act: Running) -> Outcome:
        silent.set()
        act.wait_until_stopped()
        return succeed(act)

    world.model.acts.append(lose_the_lease)
    with ThreadPoolExecutor() as pool:
        delivery = pool.submit(world.deliver, publish)
        silent.wait(10)
        world.lapse_lease(accepted["taskId"])
        claimed = world.claim(other).status
        answer = delivery.result()
    assert claimed == "claimed"
    assert (answer.status_code, answer.json()["error"]) == (503, "lease_lost")
    assert world.record(accepted["taskId"])["state"] == "queued"


@pytest.mark.parametrize(("given", "told"), [(17, 17), (None, 2)])
def test_a_fault_that_may_pass_is_503_with_the_providers_own_pause_if_it_gave_one(
    world: World, given: int | None, told: int
) -> None:
    accepted, publish = world.start()
    error = RetryableTaskError("provider_rate_limited", "Too many requests.", retry_after_seconds=given)
    world.model.acts.append(failing(error))
    answer = world.deliver(publish)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == str(told)
    retrying = world.events(accepted["taskId"])[-1]
    assert (retrying["type"], retrying["reason"]) == ("retrying", "provider_rate_limited")
    assert retrying["retryAfter"] == told
    assert (world.slot_holders(), world.places()) == (
        0,
        1,
    )  # the slot comes back, the place stays until the step ends
    world.finish(publish)
    assert world.balance() == 7
    assert_all_given_back(world)


def test_a_provider_that_is_away_for_longer_than_a_task_may_wait_ends_it_at_once_refunded(
    world: World,
) -> None:
    """Its message would find the task given up as lost long before; D14, D18."""
    world.change(MAX_WAIT_SECONDS_BATCH="60")
    accepted, publish = world.start()
    error = RetryableTaskError("provider_rate_limited", "Too many requests.", retry_after_seconds=61)
    world.model.acts.append(failing(error))
    answer = world.deliver(publish)
    assert (answer.status_code, answer.headers["Upstash-NonRetryable-Error"]) == (489, "true")
    assert world.events(accepted["taskId"])[-1]["code"] == "provider_rate_limited"
    assert world.balance() == 8
    assert_all_given_back(world)


def test_a_retried_stream_shows_the_second_attempts_text_alone(world: World) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})

    def break_off(act: Running) -> Outcome:
        act.on_text("score: 3\nbroken")
        raise RetryableTaskError("provider_disconnected", "The stream broke.")

    world.model.acts.append(break_off)
    assert world.deliver(publish).status_code == 503
    world.finish(publish)
    assert world.text(accepted["taskId"]) == MATCH_TEXT
    assert_all_given_back(world)


def test_the_last_attempt_ends_the_task_refunded_whatever_qstash_counts(world: World) -> None:
    """D14, D15, D18: attempts are those that ran; `Upstash-Retried` is nobody's business."""
    world.change(TASK_RETRIES="1")
    accepted, publish = world.start()
    fault = failing(RetryableTaskError("provider_error", "The provider failed."))
    world.model.acts.extend([fault, fault])
    assert world.deliver(publish, **{"Upstash-Retried": "9"}).status_code == 503
    answer = world.deliver(publish, **{"Upstash-Retried": "0"})
    assert (answer.status_code, answer.json()["error"]) == (489, "provider_error")
    assert answer.headers["Upstash-NonRetryable-Error"] == "true"
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["error"]["code"], status["refunded"]) == (
        "failed",
        "provider_error",
        True,
    )
    assert world.balance() == 8
    assert world.deliver(publish).json() == {"status": "duplicate"}
    assert_all_given_back(world)


def test_a_permanent_fault_ends_the_task_at_once_refunded(world: World) -> None:
    """D18: a failed model call is no `done`."""
    accepted, publish = world.start()
    world.model.acts.append(failing(PermanentTaskError("invalid_output", "The model's answer is not valid.")))
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()) == (489, {"status": "failed", "error": "invalid_output"})
    assert answer.headers["Upstash-NonRetryable-Error"] == "true"
    assert world.events(accepted["taskId"])[-1]["refunded"] is True
    assert world.get("/resume").json()["summary"] is None
    assert world.balance() == 8
    assert_all_given_back(world)


def test_a_fault_of_our_own_is_retried_and_shows_no_more_than_that(world: World) -> None:
    accepted, publish = world.start()
    world.model.acts.append(failing(ZeroDivisionError("a user's words")))
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()["error"]) == (503, "internal")
    assert "words" not in answer.text + json.dumps(world.events(accepted["taskId"]))
    world.finish(publish)


def test_an_image_that_is_gone_ends_the_task_refunded(world: World) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobImage": data_url()})
    shutil.rmtree(world.blobs)
    assert world.deliver(publish).status_code == 489
    assert world.record(accepted["taskId"])["errorCode"] == "material_missing"
    assert world.balance() == 7
    assert_all_given_back(world)


def test_an_attempt_that_runs_too_long_is_stopped_before_the_platform_does(world: World) -> None:
    world.change(WORKER_TIMEOUT_SECONDS="0.5")
    accepted, publish = world.start()

    def hang(act: Running) -> Outcome:
        act.wait_until_stopped()
        return succeed(act)

    world.model.acts.append(hang)
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()["error"]) == (503, "timeout")
    assert world.record(accepted["taskId"])["state"] == "queued"


def test_without_redis_no_delivery_is_taken(world: World) -> None:
    """D9: Redis away is 503, never a weaker guarantee."""
    _, publish = world.start()
    world.change(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    answer = world.deliver(publish)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert world.model.calls == []


def test_redis_lost_in_mid_run_is_503_and_the_task_is_neither_done_nor_lost(
    own_valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """D9, D18: what could not be stored did not happen; QStash is told to come back after the lease."""
    with World(own_valkey.url, tmp_path_factory.mktemp("blobs"), {"LEASE_SECONDS": "2"}) as world:
        _, publish = world.start()

        def lose_redis(act: Running) -> Outcome:
            own_valkey.kill()
            return succeed(act)

        world.model.acts.append(lose_redis)
        answer = world.deliver(publish)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 2
