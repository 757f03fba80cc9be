"""The operators' JSON, below `/ops/api`, for scripts and for the terminal: what the page shows and does.

GET    overview                    what is queued, what runs, what operators have set
GET    dead-letters?cursor=        a page of the dead-letter queue, with what a replay of each would do
DELETE dead-letters/{id}           takes one out of the queue for good
GET    replay?id=                  what replaying a task, or a dead letter, would do
POST   replay         {id}         does it
POST   controls       {order, …}   stops or starts a lane, sets or clears a limit, drains or resumes
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from flask import Request, Response
from pydantic.alias_generators import to_camel

from shared.actions.operators import Operator
from shared.actions.ops.letters import PAGE, DeadLetter, DeadLetterQueue
from shared.actions.ops.looking import Picture, Watch
from shared.actions.ops.orders import ControlOrder
from shared.actions.ops.replay import Prospect, Replays
from shared.bodies import read_body
from shared.errors import InvalidRequest, MethodNotAllowed, NotFound
from shared.state.controls import Controller
from shared.state.store import Store
from shared.state.task_lines import TaskLine, read_lines

MAX_ORDER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Api:
    """Answers scripts; whoever asks has been checked."""

    store: Store
    watch: Watch
    letters: DeadLetterQueue
    replays: Replays
    controller: Controller

    def answer(self, request: Request, path: Sequence[str], by: Operator) -> Response:
        """Answer a request for an address below `/ops/api`.

        Raises:
            SluiceError: refused, or something that it needs is away.
        """
        match path:
            case ["overview"]:
                _require(request, "GET", "HEAD")
                return _json(overview_json(self.watch.picture()))
            case ["dead-letters"]:
                _require(request, "GET", "HEAD")
                return _json(self._page(request.args.get("cursor"), request.args.get("count")))
            case ["dead-letters", letter_id]:
                _require(request, "DELETE")
                self.replays.delete_letter(letter_id, by)
                return _json({"deleted": letter_id})
            case ["replay"]:
                _require(request, "GET", "HEAD", "POST")
                if request.method == "POST":
                    return _json(self._replay(_name(_order(request).get("id")), by))
                return _json(self._prospect(_name(request.args.get("id"))))
            case ["controls"]:
                _require(request, "POST")
                return _json(self._change(_order(request), by))
        raise NotFound("There is no such address.")

    def _page(self, cursor: str | None, count: str | None) -> dict[str, Any]:
        if count and not (count.isascii() and count.isdigit() and 0 < int(count) <= PAGE):
            raise InvalidRequest(f"must be from 1 to {PAGE}", field="count")
        page = self.letters.page(cursor, int(count) if count else PAGE)
        ids = sorted({letter.task_id for letter in page.letters if letter.task_id})
        lines = {line.ref.task_id: line for line in read_lines(self.store, ids)}
        told = [
            letter_json(letter, lines.get(letter.task_id or ""), self.replays.prospect_of_letter(letter))
            for letter in page.letters
        ]
        return {"deadLetters": told, "cursor": page.cursor}

    def _prospect(self, name: str) -> dict[str, Any]:
        prospect = self.replays.prospect(name)
        return {"way": prospect.way, "reason": prospect.reason, "cost": prospect.cost}

    def _replay(self, name: str, by: Operator) -> dict[str, Any]:
        replayed = self.replays.replay(name, by)
        return {
            "way": replayed.way,
            "taskId": replayed.task_id,
            "replayOf": replayed.replay_of,
            "isFree": replayed.is_free,
            "replay": replayed.before,
        }

    def _change(self, order: Mapping[str, Any], by: Operator) -> dict[str, Any]:
        change = ControlOrder.read(order).carry_out(self.controller, by)
        self.watch.forget()
        return {"change": asdict(change)}


def letter_json(letter: DeadLetter, line: TaskLine | None, prospect: Prospect) -> dict[str, Any]:
    """Return a letter as JSON: ids and codes, and what a replay would do."""
    message = letter.message
    return {
        "dlqId": letter.id,
        "kind": letter.kind,
        "path": letter.path,
        "at": letter.created_at_ms,
        "status": letter.status,
        "code": letter.code,
        "taskId": letter.task_id,
        "userId": message.user_id if message else None,
        "queueId": message.queue_id if message else None,
        "templateId": message.template_id if message else None,
        "step": message.step if message else None,
        "taskState": line.state if line else None,
        "replay": prospect.way,
        "reason": prospect.reason,
    }


def overview_json(picture: Picture) -> dict[str, Any]:
    """Return a picture as JSON."""
    return {
        "at": picture.at_ms,
        "openTasks": picture.overview.open_tasks,
        "overdueTasks": picture.overview.overdue_tasks,
        "draining": asdict(picture.overview.draining) if picture.overview.draining else None,
        "lanes": [asdict(panel) for panel in picture.lanes],
        "running": [asdict(running) for running in picture.running],
        "overdue": [asdict(line) for line in picture.overdue],
        "changes": [asdict(change) for change in picture.changes],
    }


def _camel(value: Any) -> Any:
    """Return a value with its names as JSON has them everywhere here: camelCase."""
    if isinstance(value, Mapping):
        return {to_camel(name): _camel(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_camel(each) for each in value]
    return value


def _name(given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InvalidRequest("must be the id of a task or of a dead letter", field="id")
    return given.strip()


def _require(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(*methods)


def _order(request: Request) -> Mapping[str, Any]:
    try:
        order = json.loads(read_body(request, MAX_ORDER_BYTES))
    except (ValueError, RecursionError):
        raise InvalidRequest("must be JSON", field="body") from None
    if not isinstance(order, dict):
        raise InvalidRequest("must be a JSON object", field="body")
    return order


def _json(body: Mapping[str, Any]) -> Response:
    text = json.dumps(_camel({"ok": True, **body}), ensure_ascii=False, separators=(",", ":"))
    return Response(text, status=HTTPStatus.OK, mimetype="application/json")
