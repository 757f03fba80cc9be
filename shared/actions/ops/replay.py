"""Replaying what failed, at an operator's order: a dead letter, or a task that has ended.

    its task waits for a message     QStash sends the letter again; claims decide, as with any delivery
    its task failed                  a new task takes its place, admitted and paid for like any other; the
                                     records name each other
    a callback of ours               QStash sends it again: each may come twice

A task ends refunded and without its input, so a new one is made only from what is kept elsewhere: the
service's advertisement, or what was read from its picture, and the résumé. The new task's id follows from the
old one's: however often, and however many at once, there is one. What a user has cancelled, what is done, and
what has been made anew since is refused, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.actions.admission import Admissions, Submission
from shared.actions.operators import Operator
from shared.actions.ops.letters import DeadLetter, DeadLetterQueue, Kind
from shared.actions.sweeper import ref_of, steps_of
from shared.errors import NotFound, OrderRefused, PublishFailed, SluiceError
from shared.logs import LogEvent, event
from shared.routing import (
    CREATE_SERVICE_TEXT,
    CUSTOMIZE_RESUME,
    INTERVIEW_TIPS,
    Action,
    Plan,
)
from shared.state.lifecycle import State
from shared.state.records import UPLOADS, keeps, read_materials
from shared.state.replays import REPLAYED_AS, link, successor_id
from shared.state.store import Store
from shared.state.tasks import Tasks

log = logging.getLogger(__name__)
_PLANS: Mapping[Action, Plan] = {
    Action.CREATE_SERVICE: CREATE_SERVICE_TEXT,
    Action.CUSTOMIZE_RESUME: CUSTOMIZE_RESUME,
    Action.INTERVIEW_TIPS: INTERVIEW_TIPS,
}
"""What a task is made anew as; a picture's advertisement has been read, or cannot be read any more."""
GONE = "Its task is not kept any more: it ended long ago, or its user has been deleted."
NOTHING_DEAD = "It is open, and none of its messages is a dead letter: there is nothing to replay."
TEXT_GONE = "The text of an upload is not kept once its task has ended: its user has to upload it again."
IMAGE_GONE = "The picture is deleted once its task has ended: its user has to upload it again."


class Way(StrEnum):
    """How something is replayed."""

    RESEND = "resend"
    READMIT = "readmit"


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a replay would do, as things stand, and why; `way` is None when it would be refused."""

    way: Way | None
    reason: str
    cost: int = 0
    """Coins that a new task takes when its user has them; else it takes the free lane."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did."""

    way: Way
    task_id: str | None
    """The task that goes on: the new one, or the one whose message was sent again."""
    replay_of: str | None = None
    """The task whose place the new one takes."""
    is_free: bool = False
    before: bool = False
    """Somebody had replayed it already: this is the same new task."""


class Replays:
    """Says what a replay would do, and does it, once. Thread-safe."""

    def __init__(self, store: Store, tasks: Tasks, admissions: Admissions, letters: DeadLetterQueue) -> None:
        self._store = store
        self._tasks = tasks
        self._admissions = admissions
        self._letters = letters

    # -- what would be ---------------------------------------------------------------------------------------

    def prospect_of_letter(self, letter: DeadLetter) -> Prospect:
        """Return what replaying a letter would do; changes nothing."""
        if letter.kind is Kind.OTHER:
            return Prospect(None, "This is no message of a task: QStash's own console can send it again.")
        if letter.kind is Kind.CALLBACK:
            return Prospect(Way.RESEND, "A callback is sent again; what it does, it does once.")
        record = self._tasks.read(letter.task_id or "")
        if record is None:
            return Prospect(None, GONE)
        if State(record["state"]).ended:
            return self._prospect_of_ended(record)
        return _prospect_of_open(record, letter)

    def prospect(self, name: str) -> Prospect:
        """Return what replaying a task, or else a dead letter, would do, by its id; changes nothing.

        Raises:
            NotFound: it is the id of neither.
        """
        record = self._tasks.read(name)
        if record is None:
            return self.prospect_of_letter(self._letters.get(name))
        if State(record["state"]).ended:
            return self._prospect_of_ended(record)
        letter = next(iter(self._letters.of_task(name)), None)
        return self.prospect_of_letter(letter) if letter else Prospect(None, NOTHING_DEAD)

    def prospect_of_task(self, record: Mapping[str, Any]) -> Prospect:
        """Return what replaying a task would do, by its record; changes nothing."""
        if not State(record["state"]).ended:
            return Prospect(None, "It is open. If its message is a dead letter, replay that.")
        return self._prospect_of_ended(record)

    def _prospect_of_ended(self, record: Mapping[str, Any]) -> Prospect:
        if new_task := record.get(REPLAYED_AS):
            return Prospect(Way.READMIT, f"It has been replayed before, as {new_task}: that one goes on.")
        try:
            submission = self._submission(record)
        except OrderRefused as refused:
            return Prospect(None, str(refused))
        cost = submission.plan.cost
        return Prospect(Way.READMIT, f"It failed: a new task takes its place, for {cost} coins.", cost)

    # -- what is done ----------------------------------------------------------------------------------------

    def replay(self, name: str, by: Operator) -> Replayed:
        """Replay a task, or else a dead letter, by its id; see `replay_letter`."""
        record = self._tasks.read(name)
        if record is None:
            return self.replay_letter(name, by)
        if State(record["state"]).ended:
            return self._readmit(record, by)
        letter = next(iter(self._letters.of_task(name)), None)
        if letter is None:
            raise OrderRefused(NOTHING_DEAD)
        return self.replay_letter(letter.id, by)

    def replay_letter(self, letter_id: str, by: Operator) -> Replayed:
        """Replay a dead letter; it leaves the queue.

        Raises:
            NotFound: there is no such letter (any more).
            OrderRefused: it cannot be replayed; the text says why.
            BrokerUnavailable, StoreUnavailable: it may have been; asking again is safe.
            Refused, PublishFailed: the new task was not admitted; as for any request of its user.
        """
        letter = self._letters.get(letter_id)
        prospect = self.prospect_of_letter(letter)
        if prospect.way is None:
            raise OrderRefused(prospect.reason)
        if prospect.way is Way.RESEND:
            self._letters.resend(letter)
            _tell("resend", by, letter.id, letter.task_id)
            return Replayed(Way.RESEND, letter.task_id)
        replayed = self._readmit(self._record(letter.task_id or ""), by)
        self._forget(letter)
        return replayed

    def delete_letter(self, letter_id: str, by: Operator) -> None:
        """Take a dead letter out of the queue for good; its task stays as it is."""
        letter = self._letters.get(letter_id)
        self._letters.delete(letter_id)
        _tell("delete_letter", by, letter_id, letter.task_id)

    def _record(self, task_id: str) -> Mapping[str, Any]:
        record = self._tasks.read(task_id)
        if record is None:
            raise OrderRefused(GONE)
        return record

    def _readmit(self, record: Mapping[str, Any], by: Operator) -> Replayed:
        old = record["taskId"]
        new, existing = self._successor(old)
        if existing is None:
            answer = self._admissions.submit(self._submission(record, new))
        else:
            answer = self._admissions.again(new)
        if answer["taskId"] != new:
            raise OrderRefused(f"Its user has asked again: task {answer['taskId']} does this already.")
        self._link(old, new)
        _tell("replay", by, new, old)
        return Replayed(Way.READMIT, new, old, bool(answer["isFree"]), before=bool(answer["replay"]))

    def _successor(self, task_id: str) -> tuple[str, Mapping[str, Any] | None]:
        """Return the id of the task that takes a task's place, and its record if it is there.

        One that could not be handed to QStash has taken no place: the next one does.
        """
        new = successor_id(task_id)
        while (existing := self._tasks.read(new)) and existing.get("errorCode") == PublishFailed.code:
            new = successor_id(new)
        return new, existing

    def _link(self, old: str, new: str) -> None:
        """Let the records name each other; when the user was deleted meanwhile, the new task ends too."""
        if link(self._store, old, new):
            return
        record = self._tasks.read(new)
        if record is not None:
            self._tasks.cancel(ref_of(record))
        raise OrderRefused(GONE)

    def _forget(self, letter: DeadLetter) -> None:
        """Delete a letter that has been replayed; if that fails it says itself that it was."""
        try:
            self._letters.delete(letter.id)
        except NotFound:
            pass
        except SluiceError as error:
            event(log, LogEvent.DEAD_LETTER_KEPT, error=error, task=letter.task_id)

    def _submission(self, record: Mapping[str, Any], task_id: str = "") -> Submission:
        """Return the request that makes a task anew.

        Raises:
            OrderRefused: it must not be, or its material is gone.
        """
        if record["state"] != State.FAILED:
            how = "is done" if record["state"] == State.DONE else "was cancelled"
            raise OrderRefused(f"It {how}: only a task that failed is made anew.")
        action = Action(record["action"])
        if record["serviceId"] == UPLOADS:
            raise OrderRefused(TEXT_GONE)
        self._check_material(record, action)
        return Submission(
            user_id=record["userId"],
            plan=_PLANS[action],
            service_id=record["serviceId"],
            locale=record["locale"],
            body={"replayOf": record["taskId"]},
            input={},
            task_id=task_id,
        )

    def _check_material(self, record: Mapping[str, Any], action: Action) -> None:
        resume, service = read_materials(self._store, ref_of(record))
        if service.get("userId") != record["userId"]:
            raise OrderRefused("Its service is not kept any more: nothing can be made anew.")
        if "summary" not in resume:
            raise OrderRefused("Its user has no résumé any more, which it needs.")
        if action is Action.CREATE_SERVICE and not service.keys() & {"job", "jobText"}:
            raise OrderRefused(IMAGE_GONE)
        if action is not Action.CREATE_SERVICE and "match" not in service:
            raise OrderRefused("Its service has no match, which it needs.")
        kept = keeps(steps_of(record)[-1].template, ref_of(record)).field
        if service.get(f"{kept}At", 0) > int(record["createdAt"]):
            raise OrderRefused("Its user has asked again since, and has a newer result.")


def _prospect_of_open(record: Mapping[str, Any], letter: DeadLetter) -> Prospect:
    if record["state"] == State.RUNNING:
        return Prospect(None, "An attempt of its task is running: there is nothing to replay.")
    if letter.message and int(record["step"]) != letter.message.step:
        return Prospect(None, "Its task has gone on to another step: there is nothing to replay.")
    return Prospect(Way.RESEND, "Its task waits for a message: QStash sends this one again.")


def _tell(act: str, by: Operator, target: str, task_id: str | None) -> None:
    event(log, LogEvent.OPERATOR_ACTED, act=act, by=by.word, target=target, task=task_id)
