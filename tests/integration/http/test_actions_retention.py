"""What stays, for how long, and what goes as soon as nobody needs it."""

from __future__ import annotations

from pathlib import Path

from shared.state import keys
from tests.integration.http.kit import RESUME, World, data_url

DAY_MS = 86_400_000


def files(world: World) -> list[Path]:
    return [path for path in world.blobs.rglob("*") if path.is_file()]


def test_a_resume_is_read_back_with_the_text_it_is_of(world: World) -> None:
    world.with_resume()
    kept = world.get("/resume").json()
    assert kept["text"] == RESUME
    assert kept["summaryAt"] > 0
    assert (kept["detailed"], kept["detailedText"]) == (None, None)


def test_records_are_kept_for_a_year_from_their_last_write(world: World) -> None:
    service_id = world.with_match()
    for key in (keys.resume("ada"), keys.service(service_id), keys.services("ada")):
        left_ms = world.store.command("PTTL", key)
        assert 365 * DAY_MS < left_ms < 366 * DAY_MS
        world.store.command("PEXPIRE", key, 60_000)
    _, publish = world.start("customize-resume", {"serviceId": service_id})
    assert world.store.command("PTTL", keys.service(service_id)) > 365 * DAY_MS
    world.store.command("PEXPIRE", keys.service(service_id), 60_000)
    world.finish(publish)
    assert world.store.command("PTTL", keys.service(service_id)) > 365 * DAY_MS


def test_retention_is_configuration(world: World) -> None:
    world.change(RETENTION_SECONDS="60")
    service_id = world.with_match()
    assert world.store.command("PTTL", keys.service(service_id)) < DAY_MS
    assert world.store.command("PTTL", keys.quota("ada")) == -1


def test_a_service_that_expired_is_not_listed_nor_brought_back(world: World) -> None:
    service_id = world.with_match()
    world.store.command("DEL", keys.service(service_id))
    assert world.get("/services").json()["services"] == []
    assert world.store.command("ZCARD", keys.services("ada")) == 0
    assert world.ask("customize-resume", {"serviceId": service_id}).status_code == 404
    assert world.store.command("EXISTS", keys.service(service_id)) == 0


def test_an_image_goes_once_it_was_read(world: World) -> None:
    world.with_resume()
    _, publish = world.start("create-service", {"jobImage": data_url()})
    assert len(files(world)) == 1
    world.finish(publish)
    world.report("step", publish)
    assert files(world) == []


def test_an_image_stays_while_its_step_may_be_tried_again(world: World) -> None:
    world.with_resume()
    _, publish = world.start("create-service", {"jobImage": data_url()})
    world.report("failure", publish, status=429)
    assert len(files(world)) == 1


def test_an_image_stays_when_a_step_is_called_done_that_is_not(world: World) -> None:
    """A callback may come early, or for a copy of the message that was answered first."""
    world.with_resume()
    _, publish = world.start("create-service", {"jobImage": data_url()})
    world.report("step", publish)
    assert len(files(world)) == 1


def test_a_cancelled_tasks_image_goes(world: World) -> None:
    world.with_resume()
    accepted, _ = world.start("create-service", {"jobImage": data_url()})
    world.cancel(accepted["taskId"])
    assert files(world) == []


def test_the_sweep_deletes_only_images_that_no_task_can_need(world: World) -> None:
    world.with_resume()
    world.start("create-service", {"jobImage": data_url()})
    assert world.call_back("sweep").json()["images"] == 0
    world.application.images._max_age_seconds = -1
    assert world.call_back("sweep").json()["images"] == 1
    assert files(world) == []
