"""The calls that look after messages: the open ones, the dead letters, the log."""

from __future__ import annotations

from collections.abc import Sequence

from devstack.qstash.broker import Broker
from devstack.qstash.dead_letters import DeadLetter
from devstack.qstash.filters import matcher, page
from devstack.qstash.instructions import parse_instructions
from devstack.qstash.message import Json
from devstack.qstash.publishing import receipt_json
from devstack.qstash.wire import ApiError, Reply, Request

DLQ_PAGE = 100
EVENTS_PAGE = 1000
EMPTY_IDS = "an empty id or list of ids would mean all of them; send no body to mean that"


class Messages:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def get(self, _request: Request, message_id: str) -> Reply:
        message = self._broker.open.get(message_id)
        if message is None:
            raise ApiError(404, f"message {message_id} not found")
        return Reply(message.as_json())

    def cancel(self, _request: Request, message_id: str) -> Reply:
        if not self._broker.cancel(message_id):
            raise ApiError(404, f"message {message_id} not found")
        return Reply()

    def cancel_many(self, request: Request) -> Reply:
        ids = _ids(request, "messageIds")
        if ids is None:
            matches = matcher(request.query, "createdAt")
            ids = [id_ for id_, message in self._broker.open.items() if matches(message.as_json())]
        return Reply({"cancelled": sum(self._broker.cancel(message_id) for message_id in ids)})

    def events(self, request: Request) -> Reply:
        """Answer under both names: the SDKs read `events`, the documentation says `logs`."""
        ids, matches = request.query_values("messageIds"), matcher(request.query, "time")
        rows = [row for row in self._broker.journal.events() if matches(row)]
        if ids:
            rows = [row for row in rows if row["messageId"] in ids]
        shown, cursor = page(rows, request.query, limit=EVENTS_PAGE)
        return Reply(_with_cursor({"events": shown, "logs": shown}, cursor))


class Dlq:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._letters = broker.attempts.dead_letters

    def list(self, request: Request) -> Reply:
        rows = [letter.as_json() for letter in self._matching(request)]
        shown, cursor = page(rows, request.query, limit=DLQ_PAGE)
        return Reply(_with_cursor({"messages": shown}, cursor))

    def get(self, _request: Request, dlq_id: str) -> Reply:
        return Reply(self._letter(dlq_id).as_json())

    def delete(self, _request: Request, dlq_id: str) -> Reply:
        del self._letters[self._letter(dlq_id).id]
        return Reply()

    def delete_many(self, request: Request) -> Reply:
        chosen = self._chosen(request)
        for letter in chosen:
            del self._letters[letter.id]
        return Reply({"deleted": len(chosen)})

    def retry(self, request: Request, dlq_id: str) -> Reply:
        return Reply(self._revive(request, self._letter(dlq_id)), status=201)

    def retry_many(self, request: Request) -> Reply:
        responses = [self._revive(request, letter) for letter in self._chosen(request)]
        return Reply({"responses": responses, "cursor": ""}, status=201)

    def _letter(self, dlq_id: str) -> DeadLetter:
        if dlq_id not in self._letters:
            raise ApiError(404, f"dlq message {dlq_id} not found")
        return self._letters[dlq_id]

    def _matching(self, request: Request) -> Sequence[DeadLetter]:
        matches = matcher(request.query, "createdAt")
        return [letter for letter in self._letters.values() if matches(letter.as_json())]

    def _chosen(self, request: Request) -> Sequence[DeadLetter]:
        ids = _ids(request, "dlqIds")
        if ids is None:
            return self._matching(request)
        return [self._letters[dlq_id] for dlq_id in ids if dlq_id in self._letters]

    def _revive(self, request: Request, letter: DeadLetter) -> Json:
        """Send `letter` again, at once, with whatever instructions this request overrides."""
        waits = {"upstash-delay", "upstash-not-before"}
        first = {
            name: value for name, value in letter.message.instructions.given.items() if name not in waits
        }
        override = {name: value for name, value in request.config.items() if name.startswith("upstash-")}
        return receipt_json(self._broker.revive(letter.id, parse_instructions(first | override)))


def _ids(request: Request, name: str) -> Sequence[str] | None:
    """Return the ids that a bulk call names in its body or its query; None when it names none.

    Raises:
        ApiError: it names an empty list.
    """
    body = request.json()
    named = body.get(name) if isinstance(body, dict) else None
    ids = named if isinstance(named, list) else request.query_values(name)
    given = named is not None or name in request.query
    if given and not all(ids or [""]):
        raise ApiError(400, EMPTY_IDS)
    return [str(id_) for id_ in ids] if given else None


def _with_cursor(answer: Json, cursor: str | None) -> Json:
    return answer if cursor is None else answer | {"cursor": cursor}
