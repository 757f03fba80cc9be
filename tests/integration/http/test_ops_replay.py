"""Replaying what failed: which way, by whom it is paid, once however often it is asked for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from shared.actions.operators import Operator
from shared.actions.ops.letters import DeadLetterQueue, Kind, parse_letter
from shared.actions.ops.replay import GONE, IMAGE_GONE, TEXT_GONE, Replayed, Replays, Way
from shared.errors import (
    BrokerUnavailable,
    InvalidRequest,
    NotFound,
    OrderRefused,
    PermanentTaskError,
    PublishFailed,
    UserBusy,
)
from shared.state import keys
from shared.state.replays import successor_id
from tests.integration.http.kit import ACTIONS_URL, JOB, World, callback_body, changed, data_url, user_token
from tests.integration.http.stand_ins import Fault, Published, failing

ADA = Operator("ada")
BROKEN = failing(PermanentTaskError("invalid_output", "no"))


@dataclass
class Desk:
    """An operator before a world."""

    world: World
    replays: Replays

    def fail(self, action: str, body: dict[str, Any]) -> tuple[str, str]:
        """Have a task that fails for good; returns its id and that of its dead letter."""
        accepted, publish = self.world.start(action, body)
        self.world.model.acts.append(BROKEN)
        assert self.world.deliver(publish).status_code == 489
        return str(accepted["taskId"]), self.world.qstash.give_up(publish)

    def fail_match(self) -> tuple[str, str]:
        self.world.with_resume()
        return self.fail("create-service", {"jobText": JOB})

    def letters(self) -> list[str]:
        return list(self.world.qstash.letters)

    def published(self, task_id: str) -> list[Published]:
        return [p for p in self.world.qstash.published if p.message["taskId"] == task_id]


@pytest.fixture
def desk(world: World) -> Desk:
    application = world.application
    letters = DeadLetterQueue(application.settings.qstash)
    return Desk(world, Replays(application.store, application.tasks, application.admissions, letters))


# -- a task that failed --------------------------------------------------------------------------------------------


def test_a_task_that_failed_is_made_anew_for_its_user_and_does_what_the_first_could_not(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    replayed = desk.replays.replay_letter(letter_id, ADA)
    assert replayed == Replayed(Way.READMIT, successor_id(task_id), replay_of=task_id)
    (publish,) = desk.published(successor_id(task_id))
    desk.world.finish(publish)
    old, new = desk.world.record(task_id), desk.world.record(successor_id(task_id))
    assert (new["state"], new["userId"], new["serviceId"]) == ("done", old["userId"], old["serviceId"])
    assert (old["state"], old["replayedAs"], new["replayOf"]) == ("failed", new["taskId"], task_id)
    service = desk.world.get(f"/services/{old['serviceId']}").json()
    assert service["score"] == 81
    assert service["tasks"]["create-service"] == new["taskId"]
    assert desk.letters() == []


def test_each_way_into_a_service_is_made_anew_from_what_is_kept(desk: Desk) -> None:
    service_id = desk.world.with_match()
    for action in ("customize-resume", "interview-tips"):
        task_id, _ = desk.fail(action, {"serviceId": service_id})
        desk.replays.replay(task_id, ADA)
        (publish,) = desk.published(successor_id(task_id))
        desk.world.finish(publish)


def test_a_picture_that_was_read_is_matched_without_the_picture(desk: Desk) -> None:
    desk.world.with_resume()
    accepted, vision = desk.world.start("create-service", {"jobImage": data_url()})
    desk.world.finish(vision)
    desk.world.report("step", vision)
    desk.world.model.acts.append(BROKEN)
    assert desk.world.deliver(desk.published(accepted["taskId"])[-1]).status_code == 489
    replayed = desk.replays.replay(accepted["taskId"], ADA)
    (publish,) = desk.published(replayed.task_id or "")
    assert publish.message["templateId"] == "job_match"
    desk.world.finish(publish)


def test_the_new_task_is_paid_for_like_any_other_and_the_old_one_was_refunded(desk: Desk) -> None:
    task_id, _ = desk.fail_match()
    before = desk.world.balance()
    assert not desk.replays.replay(task_id, ADA).is_free
    assert desk.world.balance() == before - 2
    ledger = desk.world.get("/quota").json()["ledger"]
    assert [line["kind"] for line in ledger if line.get("taskId") == task_id] == ["debit", "refund"]
    assert [line["delta"] for line in ledger if line.get("taskId") == successor_id(task_id)] == [-2]


def test_a_user_without_coins_gets_the_free_lane(desk: Desk) -> None:
    task_id, _ = desk.fail_match()
    desk.world.store.command("HSET", keys.quota("ada"), "balance", 1)
    assert desk.replays.replay(task_id, ADA).is_free


def test_a_task_replayed_twice_or_at_once_by_letter_or_by_id_is_one_new_task(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    before = desk.world.balance()

    def ask(name: str) -> str | None:
        try:
            return desk.replays.replay(name, ADA).task_id
        except NotFound:  # somebody else was faster with the letter, and it is gone
            return successor_id(task_id)

    with ThreadPoolExecutor(6) as pool:
        named = set(pool.map(ask, [letter_id, task_id] * 3))
    assert named == {successor_id(task_id)}
    assert desk.replays.replay(task_id, ADA).before
    assert len(desk.published(successor_id(task_id))) == 1
    assert desk.world.balance() == before - 2


def test_a_replay_that_failed_again_is_replayed_by_its_own_id(desk: Desk) -> None:
    task_id, _ = desk.fail_match()
    second = desk.replays.replay(task_id, ADA).task_id or ""
    desk.world.model.acts.append(BROKEN)
    desk.world.deliver(desk.published(second)[0])
    third = desk.replays.replay(second, ADA).task_id
    assert third == successor_id(second)
    assert desk.replays.replay(task_id, ADA).task_id == second


def test_a_replay_that_qstash_did_not_take_leaves_nothing_and_the_next_one_works(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    before = desk.world.balance()
    desk.world.qstash.faults.append(Fault(400))
    with pytest.raises(PublishFailed):
        desk.replays.replay_letter(letter_id, ADA)
    assert desk.world.balance() == before
    assert desk.letters() == [letter_id]
    assert "replayedAs" not in desk.world.record(task_id)
    assert desk.published(desk.replays.replay_letter(letter_id, ADA).task_id or "")
    assert desk.world.balance() == before - 2


def test_a_replay_whose_producer_died_before_the_publish_is_published_by_the_next(desk: Desk) -> None:
    task_id, _ = desk.fail_match()
    old = desk.world.record(task_id)
    submission = desk.replays._submission(old, successor_id(task_id))
    desk.world.application.admissions._admit(submission)
    assert desk.replays.replay(task_id, ADA).before
    assert len(desk.published(successor_id(task_id))) == 1


def test_a_full_cap_of_the_user_refuses_a_replay_as_any_request(desk: Desk) -> None:
    _, letter_id = desk.fail_match()
    for _ in range(3):
        desk.world.start("create-service", {"jobText": JOB})
    with pytest.raises(UserBusy):
        desk.replays.replay_letter(letter_id, ADA)
    assert desk.letters() == [letter_id]


# -- a task that waits -----------------------------------------------------------------------------------------------


def test_a_letter_whose_task_waits_is_sent_again_by_qstash_itself(desk: Desk) -> None:
    accepted, publish = desk.world.start()
    letter_id = desk.world.qstash.give_up(publish, status=503)
    assert desk.replays.replay_letter(letter_id, ADA) == Replayed(Way.RESEND, accepted["taskId"])
    ((resent, headers),) = desk.world.qstash.resent
    assert resent == letter_id
    assert headers["upstash-deduplication-id"] not in {publish.deduplication_id, ""}
    desk.world.finish(publish)
    with pytest.raises(NotFound, match="any more"):
        desk.replays.replay_letter(letter_id, ADA)


def test_an_open_task_is_replayed_by_the_letter_that_it_has(desk: Desk) -> None:
    accepted, publish = desk.world.start()
    with pytest.raises(OrderRefused, match="none of its messages"):
        desk.replays.replay(accepted["taskId"], ADA)
    for _ in range(60):
        desk.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    desk.world.qstash.give_up(publish)
    assert desk.replays.replay(accepted["taskId"], ADA).way is Way.RESEND


def test_a_task_that_runs_or_has_gone_on_has_nothing_to_replay(desk: Desk) -> None:
    _, publish = desk.world.start()
    desk.world.claim(publish)
    with pytest.raises(OrderRefused, match="attempt of its task is running"):
        desk.replays.replay_letter(desk.world.qstash.give_up(publish), ADA)
    _, waits = desk.world.start(user="grace")
    with pytest.raises(OrderRefused, match="another step"):
        desk.replays.replay_letter(desk.world.qstash.give_up(changed(waits, step=1)), ADA)


def test_a_dead_callback_is_sent_again(desk: Desk) -> None:
    accepted, publish = desk.world.start()
    body = callback_body(publish, status=500)
    letter_id = desk.world.qstash.keep_letter(f"{ACTIONS_URL}/callbacks/failure", body)
    assert desk.replays.replay_letter(letter_id, ADA) == Replayed(Way.RESEND, accepted["taskId"])


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_text_that_is_gone_is_not_made_up(desk: Desk) -> None:
    task_id, letter_id = desk.fail("upload-resume", {"text": "a text"})
    with pytest.raises(OrderRefused, match=TEXT_GONE):
        desk.replays.replay_letter(letter_id, ADA)
    assert desk.letters() == [letter_id]
    assert desk.world.tasks.read(successor_id(task_id)) is None


def test_a_picture_that_nobody_could_read_is_gone(desk: Desk) -> None:
    desk.world.with_resume()
    _, letter_id = desk.fail("create-service", {"jobImage": data_url()})
    with pytest.raises(OrderRefused, match=IMAGE_GONE):
        desk.replays.replay_letter(letter_id, ADA)


def delete_user(world: World, _task_id: str) -> None:
    headers = {"Authorization": f"Bearer {user_token('ada')}"}
    assert world.http.delete(f"{world.actions_url}/me", headers=headers).status_code == 200


def forget_service(world: World, task_id: str) -> None:
    world.store.command("DEL", f"service:{world.record(task_id)['serviceId']}")


def forget_resume(world: World, _task_id: str) -> None:
    world.store.command("DEL", "user:ada:resume")


def match_anew(world: World, task_id: str) -> None:
    record = world.record(task_id)
    newer = str(int(record["createdAt"]) + 1)
    world.store.command("HSET", f"service:{record['serviceId']}", "matchAt", newer)


@pytest.mark.parametrize(
    ("happened", "reason"),
    [
        (delete_user, GONE),
        (forget_service, "service is not kept"),
        (forget_resume, "no résumé"),
        (match_anew, "newer result"),
    ],
)
def test_what_has_happened_meanwhile_refuses_a_replay_with_the_reason(
    desk: Desk, happened: Callable[[World, str], None], reason: str
) -> None:
    task_id, letter_id = desk.fail_match()
    happened(desk.world, task_id)
    letter = DeadLetterQueue(desk.world.application.settings.qstash).get(letter_id)
    assert desk.replays.prospect_of_letter(letter).way is None
    with pytest.raises(OrderRefused, match=reason):
        desk.replays.replay_letter(letter_id, ADA)
    assert desk.world.tasks.read(successor_id(task_id)) is None


def test_a_user_deleted_in_the_middle_of_a_replay_pays_nothing_and_nothing_runs(desk: Desk) -> None:
    task_id, _ = desk.fail_match()
    new = successor_id(task_id)
    submission = desk.replays._submission(desk.world.record(task_id), new)
    delete_user(desk.world, task_id)
    before = desk.world.balance()
    desk.world.application.admissions.submit(submission)
    with pytest.raises(OrderRefused, match=GONE):
        desk.replays._link(task_id, new)
    assert desk.world.record(new)["state"] == "cancelled"
    assert desk.world.balance() == before


def test_a_user_who_asks_again_meanwhile_keeps_their_own_task(desk: Desk) -> None:
    service_id = desk.world.with_match()
    task_id, _ = desk.fail("interview-tips", {"serviceId": service_id})
    accepted, _ = desk.world.start("interview-tips", {"serviceId": service_id})
    with pytest.raises(OrderRefused, match=accepted["taskId"]):
        desk.replays.replay(task_id, ADA)
    assert "replayedAs" not in desk.world.record(task_id)


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_only_what_failed_is_made_anew(desk: Desk, end: str) -> None:
    desk.world.with_resume()
    accepted, publish = desk.world.start("create-service", {"jobText": JOB})
    if end == "done":
        desk.world.finish(publish)
    else:
        desk.world.cancel(accepted["taskId"])
    with pytest.raises(OrderRefused, match="only a task that failed"):
        desk.replays.replay_letter(desk.world.qstash.give_up(publish), ADA)


def test_a_strangers_message_is_not_ours_to_send(desk: Desk) -> None:
    letter_id = desk.world.qstash.keep_letter("https://elsewhere.test/hook", b'{"not": "ours"}')
    with pytest.raises(OrderRefused, match="no message of a task"):
        desk.replays.replay_letter(letter_id, ADA)
    desk.replays.delete_letter(letter_id, ADA)
    assert desk.letters() == []
    with pytest.raises(NotFound):
        desk.replays.delete_letter(letter_id, ADA)


def test_qstash_away_is_said_and_nothing_has_happened(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    desk.world.qstash.is_away = True
    with pytest.raises(BrokerUnavailable):
        desk.replays.replay_letter(letter_id, ADA)
    assert desk.world.tasks.read(successor_id(task_id)) is None


# -- what is read of a letter ----------------------------------------------------------------------------------------


def test_of_a_letter_ids_and_a_code_are_read_and_no_text(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    letter = DeadLetterQueue(desk.world.application.settings.qstash).get(letter_id)
    assert (letter.kind, letter.task_id, letter.status, letter.code) == (
        Kind.TASK,
        task_id,
        489,
        "invalid_output",
    )
    assert "secret" not in repr(letter)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"body": "\ud800", "url": "::"},
        {"bodyBase64": "?", "responseBodyBase64": "?"},
        {"body": "[]", "responseBody": "[]"},
        {"url": "https://x/callbacks/failure", "body": "{}"},
        {"url": "https://x/callbacks/failure", "body": '{"sourceBody": "é"}'},
        {"responseBody": '{"error": "a sentence of somebody"}'},
        {"responseBody": '{"error": "' + "x" * 41 + '"}'},
    ],
)
def test_a_letter_that_nobody_can_read_is_shown_all_the_same(row: dict[str, Any]) -> None:
    letter = parse_letter({"dlqId": "d1", **row})
    assert (letter.id, letter.message, letter.code) == ("d1", None, None)


def test_no_letter_is_never_taken_for_all_letters(desk: Desk) -> None:
    """QStash takes an empty id for the whole queue."""
    letter_id = desk.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    queue = DeadLetterQueue(desk.world.application.settings.qstash)
    for call in (queue.get, queue.delete):
        with pytest.raises(InvalidRequest):
            call("")
    assert desk.letters() == [letter_id]


def test_letters_are_shown_in_pages(desk: Desk) -> None:
    for _ in range(5):
        desk.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    queue = DeadLetterQueue(desk.world.application.settings.qstash)
    first = queue.page(count=3)
    rest = queue.page(first.cursor, count=3)
    assert [*first.letters, *rest.letters] == [
        parse_letter(row) for row in desk.world.qstash.letters.values()
    ]
    assert rest.cursor is None
