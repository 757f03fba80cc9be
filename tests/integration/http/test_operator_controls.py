"""An operator's controls as callers, QStash and workers see them."""

from __future__ import annotations

from typing import Any

from shared.routing import Lane, Model, Tier
from shared.state.controls import Controller
from tests.integration.http.kit import RESUME, World, data_url

WHO: dict[str, Any] = {"by": "ada", "reason": "r"}


def parallelism(world: World) -> str:
    return str(world.qstash.published[-1].headers["upstash-flow-control-value"])


def test_draining_refuses_new_tasks_with_when_to_come_back_and_goes_on_with_the_others(world: World) -> None:
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    Controller(world.store).drain(**WHO)
    refused = world.ask("upload-resume", {"text": RESUME})
    assert (refused.status_code, refused.json()["error"]) == (503, "draining")
    assert refused.headers["Retry-After"] == str(refused.json()["retryAfter"]) == "60"
    world.finish(vision)
    world.report("step", vision)
    match = world.qstash.published[-1]
    world.finish(match)
    assert world.record(match.message["taskId"])["state"] == "done"


def test_a_stopped_lane_answers_qstash_when_to_come_again(world: World) -> None:
    accepted, publish = world.start()
    Controller(world.store).stop(Lane.PAID_BATCH, **WHO, for_seconds=3600)
    answer = world.deliver(publish)
    assert (answer.status_code, answer.json()) == (429, {"status": "lane_stopped"})
    assert answer.headers["Retry-After"] == "30"
    assert world.events(accepted["taskId"])[-1]["reason"] == "lane_stopped"
    assert world.model.calls == []
    Controller(world.store).start(Lane.PAID_BATCH, by="ada")
    world.finish(publish)


def test_a_message_given_up_on_by_qstash_in_a_stopped_lane_is_published_again(world: World) -> None:
    accepted, publish = world.start()
    Controller(world.store).stop(Lane.PAID_BATCH, **WHO)
    assert world.report("failure", publish, status=429).json()["status"] == "publish"
    assert world.qstash.published[-1].headers["upstash-delay"] == "30s"
    Controller(world.store).start(Lane.PAID_BATCH, by="ada")
    world.finish(world.qstash.published[-1])
    assert world.record(accepted["taskId"])["attempt"] == "1"


def test_qstash_lets_as_many_run_at_once_as_the_guards_do(world: World) -> None:
    """On each way to a publish: an admission, a next step, a requeue, a repeated request."""
    controller = Controller(world.store)
    for model in (Model.DEEPSEEK_CHAT, Model.DEEPSEEK_REASONER, Model.GLM_VISION):
        controller.set_slots(model, Tier.PAID, 9, **WHO)
    world.with_resume()
    assert parallelism(world) == "parallelism=9"
    _, vision = world.start("create-service", {"jobImage": data_url()})
    assert parallelism(world) == "parallelism=9"
    world.finish(vision)
    world.report("step", vision)
    assert parallelism(world) == "parallelism=9"
    controller.set_slots(Model.DEEPSEEK_REASONER, Tier.PAID, 4, **WHO)
    world.report("failure", world.qstash.published[-1], status=429)
    assert parallelism(world) == "parallelism=4"
    running = world.qstash.published[-1]
    assert world.claim(running).status == "claimed"
    world.report("failure", running, status=429, message_id="msg_3")
    assert parallelism(world) == "parallelism=4"
    world.lapse_lease(running.message["taskId"])
    controller.clear_slots(Model.DEEPSEEK_REASONER, Tier.PAID, by="ada")
    world.report("failure", world.qstash.published[-1], status=429, message_id="msg_2")
    assert parallelism(world) == "parallelism=5"
