"""Which call answers which method and raw path. Whoever adds a call adds a line here."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from devstack.qstash.administration import DevCalls, FlowCalls, KeyCalls, QueueCalls, ScheduleCalls
from devstack.qstash.broker import Broker
from devstack.qstash.management import EMPTY_IDS, Dlq, Messages
from devstack.qstash.publishing import Publishing
from devstack.qstash.schedules import Schedules
from devstack.qstash.signing import Keyring
from devstack.qstash.wire import ApiError, Reply, Request

Call = Callable[..., Reply]
_RAW = frozenset({"destination"})
"""Path parameters that are handed over as they came; the others are percent-decoded."""


@dataclass(frozen=True, slots=True)
class Route:
    methods: frozenset[str]
    pattern: re.Pattern[str]
    call: Call


class Router:
    """Finds the call for a request and makes it."""

    def __init__(self, calls: dict[str, Call]) -> None:
        self._routes = [_route(line, call) for line, call in calls.items()]

    def answer(self, request: Request) -> Reply:
        """Answer `request`; whatever it did wrong is an answer too."""
        try:
            return self._call(request)
        except ApiError as error:
            return Reply({"error": str(error)}, error.status)
        except ValueError as error:
            return Reply({"error": str(error)}, 400)

    def _call(self, request: Request) -> Reply:
        known = False
        for route in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match is None:
                continue
            known = True
            if request.method in route.methods:
                return route.call(request, **_parameters(match))
        raise ApiError(405, "method not allowed") if known else ApiError(404, "not found")


def build_router(
    broker: Broker,
    schedules: Schedules,
    keyring: Keyring,
    dev: DevCalls,
    *,
    rng: random.Random,
    max_message_bytes: int,
) -> Router:
    """Return the table of all calls."""
    publishing = Publishing(broker, max_message_bytes)
    messages, dlq, queues, flow = Messages(broker), Dlq(broker), QueueCalls(broker), FlowCalls(broker)
    plans, keys = ScheduleCalls(broker, schedules, rng), KeyCalls(keyring)
    return Router(
        {
            "POST /v2/publish/{destination}": publishing.publish,
            "POST /v2/enqueue/{queue}/{destination}": publishing.enqueue,
            "POST /v2/batch": publishing.batch,
            "DELETE /v2/messages": messages.cancel_many,
            "DELETE /v2/(messages|dlq|queues|schedules)/": _refuse_empty_id,
            "GET /v2/messages/{message_id}": messages.get,
            "DELETE /v2/messages/{message_id}": messages.cancel,
            "GET /v2/(events|logs)": messages.events,
            "GET /v2/dlq": dlq.list,
            "DELETE /v2/dlq": dlq.delete_many,
            "POST /v2/dlq/retry": dlq.retry_many,
            "POST /v2/dlq/retry/{dlq_id}": dlq.retry,
            "GET /v2/dlq/{dlq_id}": dlq.get,
            "DELETE /v2/dlq/{dlq_id}": dlq.delete,
            "GET /v2/queues": queues.list,
            "POST /v2/queues": queues.put,
            "GET /v2/queues/{name}": queues.get,
            "DELETE /v2/queues/{name}": queues.delete,
            "POST /v2/queues/{name}/{verb}": queues.switch,
            "GET /v2/schedules": plans.list,
            # Before the creation, whose destination would match all that follows; a destination has a scheme.
            "POST|PATCH /v2/schedules/{schedule_id}/{verb}": plans.switch,
            "POST /v2/schedules/{destination}": plans.put,
            "GET /v2/schedules/{schedule_id}": plans.get,
            "DELETE /v2/schedules/{schedule_id}": plans.delete,
            "GET /v2/flowControl": flow.list,
            "GET /v2/flowControl/{key}": flow.get,
            "POST /v2/flowControl/{key}/{verb}": flow.switch,
            "GET /v2/globalParallelism": flow.global_parallelism,
            "GET /v2/keys": keys.get,
            "POST /v2/keys/rotate": keys.rotate,
            "GET /dev/faults": dev.get_faults,
            "POST /dev/faults": dev.set_faults,
            "DELETE /dev/faults": dev.clear_faults,
            "GET /dev/state": dev.state,
        }
    )


def _route(line: str, call: Call) -> Route:
    methods, _, path = line.partition(" ")
    path = path.replace("(", "(?:").replace("{destination}", "(?P<destination>.+)")
    path = path.replace("{verb}", "(?P<verb>pause|resume)")
    path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return Route(frozenset(methods.split("|")), re.compile(path), call)


def _parameters(match: re.Match[str]) -> dict[str, str]:
    return {name: value if name in _RAW else unquote(value) for name, value in match.groupdict().items()}


def _refuse_empty_id(_request: Request) -> Reply:
    raise ApiError(400, EMPTY_IDS)
