"""The HTTP of `actions`: one request in, one answer out; every refusal becomes the table of design §4.

Flask comes with the Functions Framework, which hands every path and method to one function: routing,
methods and CORS are decided here. Clients are built on the first request, after gunicorn has forked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from flask import Request, Response
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from shared.actions import observing
from shared.actions.admission import Admissions, Links
from shared.actions.callbacks import Callbacks
from shared.actions.deletion import Deletion
from shared.actions.images import Images
from shared.actions.openapi import openapi_document
from shared.actions.producer import Producer
from shared.actions.queries import Queries
from shared.actions.rates import RequestRates
from shared.actions.responses import answer_json, first_part, refusal, tell_refusal
from shared.actions.services import Call, Sent, Services
from shared.actions.sweeper import Sweeper
from shared.actions.uploads import MAX_BODY_BYTES
from shared.auth import UserTokens
from shared.bodies import read_body, skip_body
from shared.config import ActionsSettings
from shared.errors import InvalidRequest, MethodNotAllowed, NotFound, SluiceError
from shared.logs import LogEvent, also, bind, event, request_facts, trace_facts
from shared.messages import parse_probe, trace_of
from shared.routing import Action
from shared.signature import read_signed
from shared.state.blobs import BlobStore
from shared.state.store import Store, open_store
from shared.state.tasks import Tasks
from shared.telemetry.signals import signals

if TYPE_CHECKING:
    from shared.actions.operators import Operators
    from shared.actions.ops.site import Site

log = logging.getLogger(__name__)
MAX_CALLBACK_BYTES = 64 * 1024 * 1024
MAX_IDEMPOTENCY_KEY_CHARS = 255
MAX_FORM_PARTS = 20
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
OPERATORS_PATHS = frozenset({"/ops", "/metrics"})
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, traceparent"


@dataclass(frozen=True)
class Application:
    """What answers requests, built once for a process from its settings."""

    settings: ActionsSettings
    qstash_client: httpx.Client | None = None
    """The client that publishes; the producer's own when None."""

    @cached_property
    def store(self) -> Store:
        return signals().watched(open_store(self.settings.redis))

    @cached_property
    def tasks(self) -> Tasks:
        s = self.settings
        return Tasks(self.store, concurrency=s.concurrency, time=s.time, stream=s.stream)

    @cached_property
    def producer(self) -> Producer:
        return Producer(self.settings, self.qstash_client)

    @cached_property
    def sweeper(self) -> Sweeper:
        return Sweeper(self.tasks, self.producer)

    @cached_property
    def links(self) -> Links:
        return Links(self.settings)

    @cached_property
    def admissions(self) -> Admissions:
        return Admissions(self.settings, self.tasks, self.producer, self.sweeper, self.links)

    @cached_property
    def services(self) -> Services:
        return Services(self.store, self.images, self.admissions)

    @cached_property
    def images(self) -> Images:
        max_age_seconds = self.settings.time.place_max_age_seconds
        return Images(BlobStore(self.settings.blob_url), max_age_seconds=max_age_seconds)

    @cached_property
    def deletion(self) -> Deletion:
        return Deletion(self.store, self.tasks, self.images, initial_quota=self.settings.initial_quota)

    @cached_property
    def queries(self) -> Queries:
        return Queries(self.settings, self.store, self.tasks, self.sweeper, self.links, self.images)

    @cached_property
    def callbacks(self) -> Callbacks:
        return Callbacks(self.tasks, self.producer, self.sweeper, self.images, self._keep_books)

    def _keep_books(self) -> int:
        """Add the journal up, and drop the holders of slots whose lease has lapsed; with every sweep."""
        from shared.state.locks import drop_lapsed
        from shared.state.sums import fold

        drop_lapsed(self.store)
        return fold(self.store, usage_days=self.settings.usage_days)

    @cached_property
    def rates(self) -> RequestRates:
        return RequestRates(self.store, self.settings.rate_limits)

    @cached_property
    def operators(self) -> Operators:
        from shared.actions.operators import Operators  # few requests are an operator's

        return Operators(self.settings.ops_token, self.store)

    @cached_property
    def ops(self) -> Site:
        from shared.actions.ops.site import Site

        return Site(self.settings, self.store, self.tasks, self.admissions, self.operators)

    @cached_property
    def users(self) -> UserTokens:
        return UserTokens(self.settings.auth)

    def answer(self, request: Request) -> Response:
        """Answer one request; never raises."""
        began = time.monotonic()
        with bind(**request_facts(request.headers.get)):
            try:
                response = self._route(request)
            except SluiceError as error:
                tell_refusal(request, error)
                response = refusal(error)
            except Exception as error:  # noqa: BLE001 - the handler's edge; told with its stack
                told = {"method": request.method, "path": first_part(request)}
                event(log, LogEvent.REQUEST_FAILED, told, error=error, traced=True)
                response = refusal(SluiceError())
        observing.answered(request, response.status_code, began)
        skip_body(request)
        return self._with_cors(request, response)

    def _route(self, request: Request) -> Response:  # noqa: PLR0911  # a table of addresses, one answer each
        if request.method == "OPTIONS":
            return Response(status=HTTPStatus.NO_CONTENT)
        match request.path.strip("/").split("/"):
            case ["callbacks", name]:
                return self._callback(request, name)
            case ["actions", name]:
                return self._action(request, name)
            case ["tasks", task_id, "cancel"]:
                _require_method(request, "POST")
                return answer_json(self.queries.cancel(self._user(request), task_id))
            case ["openapi.json"]:
                _require_method(request, "GET", "HEAD")
                return _contract(request)
            case ["healthz"]:
                _require_method(request, "GET", "HEAD")
                return answer_json({"ok": True})
            case ["me"]:
                _require_method(request, "DELETE")
                return answer_json(self.deletion.delete(self._user(request)))
            case ["ops", *path]:
                return self.ops.answer(request, path)
            case [name, *ids]:
                return self._query(request, name, ids)
        raise NotFound("There is no such address.")

    def _query(self, request: Request, name: str, ids: Sequence[str]) -> Response:
        """Answer a read: its name and how many ids follow it in the path decide which."""
        if (name, len(ids)) == ("metrics", 0):
            return self._metrics(request)
        reads: Mapping[tuple[str, int], Callable[..., Mapping[str, Any]]] = {
            ("tasks", 1): self.queries.task,
            ("quota", 0): self.queries.quota,
            ("resume", 0): self.queries.resume,
            ("services", 0): self.queries.services,
            ("services", 1): self.queries.service,
        }
        read = reads.get((name, len(ids)))
        if read is None:
            raise NotFound("There is no such address.")
        _require_method(request, "GET", "HEAD")
        answer = read(self._user(request), *ids)
        return self._poll(request, answer) if name == "tasks" else answer_json(answer)

    def _poll(self, request: Request, body: Mapping[str, Any]) -> Response:
        """Answer a poll; 304 while nothing has changed but the stream token.

        The tag changes with half the token's lifetime too: whoever only polls never holds an expired address.
        """
        half_life = int(time.time() / (self.settings.stream_token_ttl_seconds / 2))
        seen = json.dumps([{**body, "streamUrl": half_life}], sort_keys=True)
        response = answer_json(body)
        response.headers["Cache-Control"] = "private, no-cache"
        response.set_etag(hashlib.sha256(seen.encode()).hexdigest()[:32], weak=True)
        response.make_conditional(request.environ)  # turns it into a 304 in place
        return response

    def _user(self, request: Request) -> str:
        """Return who asks, and count the request, before any other work is done for it.

        Raises:
            AuthRequired, RateLimited: nothing else has been looked at.
        """
        user_id = self.users.user_id(request.headers.get("Authorization"))
        self.rates.count(user_id, writes=request.method not in {"GET", "HEAD"})
        return user_id

    def _action(self, request: Request, name: str) -> Response:
        if name not in set(Action):
            raise NotFound("There is no such action.")
        _require_method(request, "POST")
        traceparent = trace_of(request.headers.get("traceparent"))
        also(action=name, **trace_facts(traceparent))
        user_id = self._user(request)
        with observing.action(name, traceparent) as span:
            also(**trace_facts(span.traceparent))
            call = Call(
                user_id=user_id,
                idempotency_key=_idempotency_key(request),
                traceparent=span.traceparent or traceparent,
                preferred_locale="zh" if request.accept_languages.best_match(["en", "zh"]) == "zh" else "en",
            )
            accepted = self.services.run(Action(name), call, _sent(request))
            observing.accepted(span, accepted)
        return answer_json(accepted, HTTPStatus.ACCEPTED)

    def _callback(self, request: Request, name: str) -> Response:
        if name not in {"step", "failure", "sweep"}:
            raise NotFound("There is no such address.")
        _require_method(request, "POST")
        body = read_signed(
            request.headers.get("Upstash-Signature"),
            lambda: read_body(request, MAX_CALLBACK_BYTES),
            f"{self.settings.actions_url}/callbacks/{name}",
            self.settings.signing_keys,
        )
        if name == "sweep":
            return answer_json({"ok": True, **self.callbacks.sweep()})
        if name == "step" and (probe := parse_probe(body)):
            self.store.command("PING")
            return answer_json({"ok": True, **probe.answer("actions")})
        decide = self.callbacks.step if name == "step" else self.callbacks.failure
        return answer_json({"ok": True, **decide(body)})

    def _metrics(self, request: Request) -> Response:
        """Answer a scrape, for whoever is an operator."""
        self.operators.require(request)
        _require_method(request, "GET", "HEAD")
        from shared.actions.metrics import read_state, render  # at the first scrape

        s = self.settings
        state = read_state(self.store, s.concurrency, usage_days=s.usage_days)
        scraped = render(state, s.concurrency, s.env, request.headers.get("Accept", ""))
        headers = {"Cache-Control": "no-store", "Content-Type": scraped.content_type}
        return Response(scraped.body, headers=headers)

    def _with_cors(self, request: Request, response: Response) -> Response:
        """Let the pages of known origins read an answer; none of them is an operator's."""
        if first_part(request) in OPERATORS_PATHS:
            return response
        origin, allowed = request.headers.get("Origin"), self.settings.allowed_origins
        response.headers["Vary"] = "Origin"
        if origin and (origin in allowed or "*" in allowed):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, ETag"
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
                response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
                response.headers["Access-Control-Max-Age"] = "600"
        return response


def _contract(request: Request) -> Response:
    """Answer with the document that describes all of this; it changes only with a release."""
    headers = {"Cache-Control": "public, max-age=300"}
    response = Response(openapi_document(), mimetype="application/json", headers=headers)
    response.add_etag()
    response.make_conditional(request.environ)
    return response


def _require_method(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(*methods)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS:
        raise InvalidRequest(
            f"must have 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters", field="Idempotency-Key"
        )
    return key


def _sent(request: Request) -> Sent:
    data = read_body(request, MAX_BODY_BYTES)
    if request.mimetype == "multipart/form-data":
        return _form(request, data)
    return Sent(_json_body(data))


def _form(request: Request, data: bytes) -> Sent:
    """Parse a form from its bytes, which have been read within the limit."""
    boundary = request.mimetype_params.get("boundary", "").encode()
    parser = MultiPartParser(max_form_memory_size=None, max_form_parts=MAX_FORM_PARTS)
    try:
        fields, files = parser.parse(io.BytesIO(data), boundary, len(data))
    except (ValueError, RequestEntityTooLarge):
        raise InvalidRequest("is not a form that can be read", field="body") from None
    with contextlib.ExitStack() as opened:
        for file in files.values():
            opened.callback(file.close)
        return Sent(fields.to_dict(), {name: file.read() for name, file in files.items()})


def _json_body(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
        if _HALF_PAIR.search(data):  # half of a surrogate pair is JSON, but no text that can be stored
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest("must be JSON", field="body") from None
    if not isinstance(body, dict):
        raise InvalidRequest("must be a JSON object", field="body")
    return body
