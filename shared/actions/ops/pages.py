"""Which page shows what, of those that only look: each is a template and the facts that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response

from shared.actions.operators import Session
from shared.actions.ops.letters import DeadLetter, DeadLetterQueue
from shared.actions.ops.looking import Watch
from shared.actions.ops.orders import SPAN_NAMES
from shared.actions.ops.rendering import render
from shared.actions.ops.replay import Replays
from shared.actions.ops.usage import read_chart
from shared.errors import NotFound
from shared.routing import Lane
from shared.state.overview import open_tasks
from shared.state.store import Store
from shared.state.task_lines import read_lines, recent_tasks
from shared.state.tasks import Tasks
from shared.stream.story import read_story

OPEN_SHOWN = 100
DONE = {
    "replayed": "Replayed: this is the new task, which takes the place of the one that failed.",
    "replayed-before": "It had been replayed before: this is the task that took its place.",
    "sent": "QStash sends the message again; the dead letter is gone.",
    "deleted": "The dead letter is deleted.",
    "changed": "Changed. Guards and producer see it from now on.",
    "signed-out": "You have signed out.",
}
"""What a page says after an order, by the name in its address: nobody can make it say something else."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages that only look."""

    store: Store
    tasks: Tasks
    watch: Watch
    letters: DeadLetterQueue
    replays: Replays

    def show(self, request: Request, path: Sequence[str], session: Session) -> Response:
        """Return the page at an address below `/ops`.

        Raises:
            NotFound: there is none, or what it is about is not there.
            SluiceError: something that it needs is away.
        """
        lists = {
            "drain": self._drain,
            "usage": self._usage,
            "tasks": self._tasks,
            "dead-letters": self._letters,
        }
        match path:
            case []:
                return self._overview(request, session)
            case ["lanes", lane] if lane in set(Lane):
                return self._lane(request, session, Lane(lane))
            case ["tasks", task_id]:
                return self._task(request, session, task_id)
            case ["dead-letters", letter_id]:
                return self._letter(request, session, letter_id)
            case [name] if name in lists:
                return lists[name](request, session)
        raise NotFound("There is no such page.")

    def _drain(self, request: Request, session: Session) -> Response:
        return page("drain.html", request, session, picture=self.watch.picture(fresh=True), spans=SPAN_NAMES)

    def _usage(self, request: Request, session: Session) -> Response:
        return page("usage.html", request, session, usage=read_chart(self.store))

    def _overview(self, request: Request, session: Session) -> Response:
        return page("overview.html", request, session, picture=self.watch.picture())

    def _lane(self, request: Request, session: Session, lane: Lane) -> Response:
        picture = self.watch.picture(fresh=True)
        panel = next(panel for panel in picture.lanes if panel.lane is lane)
        return page("lane.html", request, session, panel=panel, spans=SPAN_NAMES)

    def _tasks(self, request: Request, session: Session) -> Response:
        asked = request.args.get("find", "").strip()
        if asked and read_lines(self.store, [asked]):
            return see(f"/ops/tasks/{quote(asked, safe='')}")
        found = recent_tasks(self.store, asked) if asked else []
        still_open = [] if asked else list(open_tasks(self.store, OPEN_SHOWN))
        facts = {"asked": asked, "found": found, "still_open": still_open, "most": OPEN_SHOWN}
        return page("tasks.html", request, session, now_ms=self.watch.picture().at_ms, **facts)

    def _task(self, request: Request, session: Session, task_id: str) -> Response:
        story, record = read_story(self.store, self.tasks, task_id), self.tasks.read(task_id)
        if story is None or record is None:
            raise NotFound("There is no such task (any more): records go some days after the end.")
        prospect = self.replays.prospect_of_task(record)
        return page("task.html", request, session, story=story, prospect=prospect)

    def _letters(self, request: Request, session: Session) -> Response:
        found = self.letters.page(request.args.get("cursor"))
        states = self._states(found.letters)
        return page("letters.html", request, session, found=found, states=states)

    def _letter(self, request: Request, session: Session, letter_id: str) -> Response:
        letter = self.letters.get(letter_id)
        facts = {"letter": letter, "prospect": self.replays.prospect_of_letter(letter)}
        return page("letter.html", request, session, states=self._states([letter]), **facts)

    def _states(self, letters: Sequence[DeadLetter]) -> Mapping[str, str]:
        """Return the state of each letter's task that still has a record."""
        ids = sorted({letter.task_id for letter in letters if letter.task_id})
        return {line.ref.task_id: str(line.state) for line in read_lines(self.store, ids)}


def page(template: str, request: Request, session: Session | None, **facts: Any) -> Response:
    """Return a page made from a template."""
    done = DONE.get(request.args.get("done", ""))
    return Response(render(template, session=session, done=done, **facts), mimetype="text/html")


def see(address: str, **query: str) -> Response:
    """Send the browser on, by GET."""
    location = f"{address}?{urlencode(query)}" if query else address
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})
