"""The HTTP for operators: everything below `/ops`, server-rendered, and JSON for scripts below `/ops/api`.

    /ops                      lanes, running and overdue tasks, what operators changed; refreshes itself
    /ops/lanes/{lane}         a lane's controls: stop and start, places, slots     /ops/drain   drain mode
    /ops/dead-letters[/{id}]  QStash's dead-letter queue; a letter, its replay and its deletion
    /ops/tasks[/{id}]         open tasks, search by task or user id; one task's story, and its replay
    /ops/usage                tokens and cost of the last days, by model
    /ops/sign-in, /ops/sign-out, /ops/static/{file}

A page is for whoever has signed in; every change is a POST with the session's form token. The JSON takes the
bearer token alone, never the cookie, so no other page can make a browser send it. No text of a user's or a
model's is on any of it.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from urllib.parse import parse_qsl

from flask import Request, Response

from shared.actions.admission import Admissions
from shared.actions.operators import COOKIE, COOKIE_PATH, SESSION_SECONDS, Operator, Operators, Session
from shared.actions.ops.api import Api
from shared.actions.ops.letters import DeadLetterQueue
from shared.actions.ops.looking import Watch
from shared.actions.ops.orders import ControlOrder
from shared.actions.ops.pages import Pages, page, see
from shared.actions.ops.rendering import STATIC, render, version
from shared.actions.ops.replay import Replays
from shared.bodies import read_body
from shared.errors import AuthRequired, InvalidRequest, MethodNotAllowed, NotFound, RateLimited, SluiceError
from shared.logs import LogEvent, event
from shared.routing import Lane
from shared.settings import ActionsSettings, Env
from shared.state.controls import Controller
from shared.state.store import Store
from shared.state.tasks import Tasks

log = logging.getLogger(__name__)
MAX_FORM_BYTES = 16_384
POLICY = "; ".join(
    f"{name} {sources}"
    for name, sources in {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }.items()
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Site:
    """Answers what stands below `/ops`."""

    settings: ActionsSettings
    store: Store
    tasks: Tasks
    admissions: Admissions
    operators: Operators

    @cached_property
    def letters(self) -> DeadLetterQueue:
        return DeadLetterQueue(self.settings.qstash)

    @cached_property
    def replays(self) -> Replays:
        return Replays(self.store, self.tasks, self.admissions, self.letters)

    @cached_property
    def controller(self) -> Controller:
        return Controller(self.store)

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.store, self.settings.concurrency)

    @cached_property
    def pages(self) -> Pages:
        return Pages(self.store, self.tasks, self.watch, self.letters, self.replays)

    @cached_property
    def api(self) -> Api:
        return Api(self.store, self.watch, self.letters, self.replays, self.controller)

    def answer(self, request: Request, path: Sequence[str]) -> Response:
        """Answer a request for an address below `/ops`.

        Raises:
            NotFound: this deployment has no operators' access.
            SluiceError: of the JSON; a page shows what went wrong itself.
        """
        if path[:1] == ["api"]:
            by = self.operators.require(request)
            return _secured(self.api.answer(request, path[1:], by))
        session = self.operators.session(request)  # before anything else: is there such an access at all?
        if path[:1] == ["static"]:
            return _static(path[1:])
        try:
            return _secured(self._page(request, path, session))
        except SluiceError as error:
            return _secured(_trouble(error, session))

    def _page(self, request: Request, path: Sequence[str], session: Session | None) -> Response:
        if list(path) == ["sign-in"]:
            return self._sign_in(request)
        if session is None:
            return see("/ops/sign-in")
        if request.method == "POST":
            return self._order(request, path, session)
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed("GET", "POST")
        return self.pages.show(request, path, session)

    # -- signing in and out ----------------------------------------------------------------------------------

    def _sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return page("sign_in.html", request, None, problem=None, name="")
        fields = _form(request)
        try:
            cookie = self.operators.sign_in(request, fields.get("name", ""), fields.get("token", ""))
        except (AuthRequired, InvalidRequest, RateLimited) as error:
            facts = {"problem": str(error), "name": fields.get("name", "")}
            response = page("sign_in.html", request, None, **facts)
            response.status_code = error.status
            if error.retry_after_seconds:
                response.headers["Retry-After"] = str(error.retry_after_seconds)
            return response
        response = see("/ops")
        self._set_cookie(response, cookie, SESSION_SECONDS)
        return response

    def _sign_out(self) -> Response:
        response = see("/ops/sign-in", done="signed-out")
        self._set_cookie(response, "", 0)
        return response

    def _set_cookie(self, response: Response, value: str, seconds: float) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=int(seconds),
            path=COOKIE_PATH,
            secure=self.settings.env is not Env.DEV,
            httponly=True,
            samesite="Strict",
        )

    # -- orders ----------------------------------------------------------------------------------------------

    def _order(self, request: Request, path: Sequence[str], session: Session) -> Response:
        fields = _form(request)
        if not session.allows(fields.get("form_token", "")):
            raise AuthRequired(
                "This form is of another session: open the page again, and send it from there."
            )
        match path:
            case ["sign-out"]:
                return self._sign_out()
            case ["controls"]:
                order = ControlOrder.read(fields)
                order.carry_out(self.controller, session.operator)
                self.watch.forget()
                lane = order.lane or fields.get("back")
                return see(f"/ops/lanes/{lane}" if lane in set(Lane) else "/ops", done="changed")
            case ["dead-letters", letter_id, "delete"]:
                self.replays.delete_letter(letter_id, session.operator)
                return see("/ops/dead-letters", done="deleted")
            case ["dead-letters" | "tasks" as kind, name, "replay"]:
                return self._replay(kind, name, session.operator)
        raise NotFound("There is no such order.")

    def _replay(self, kind: str, name: str, by: Operator) -> Response:
        replay = self.replays.replay if kind == "tasks" else self.replays.replay_letter
        replayed = replay(name, by)
        if replayed.replay_of is None:
            return see(
                f"/ops/tasks/{replayed.task_id}" if replayed.task_id else "/ops/dead-letters", done="sent"
            )
        done = "replayed-before" if replayed.before else "replayed"
        return see(f"/ops/tasks/{replayed.task_id}", done=done)


def _trouble(error: SluiceError, session: Session | None) -> Response:
    """Say on a page what went wrong, and in the log as for any other request."""
    away = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    facts = {"status": error.status, "retry_after_seconds": error.retry_after_seconds}
    what = LogEvent.REQUEST_UNAVAILABLE if away else LogEvent.REQUEST_REFUSED
    event(log, what, facts, error=error if away else error.code)
    response = Response(
        render("trouble.html", session=session, done=None, error=error),
        status=error.status,
        mimetype="text/html",
    )
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _static(path: Sequence[str]) -> Response:
    file = {each.name: each for each in STATIC.iterdir()}.get("/".join(path))
    if file is None:
        raise NotFound("There is no such file.")
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    response = Response(file.read_bytes(), mimetype=kind)
    response.headers |= {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{version()}"'}
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _secured(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def _form(request: Request) -> dict[str, str]:
    """Return a form's fields; another kind of body is none: a browser sends it to others' pages unasked."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequest("must be a form", field="body")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise AuthRequired("This form was sent by another site.")
    try:
        return dict(parse_qsl(read_body(request, MAX_FORM_BYTES).decode(), keep_blank_values=True))
    except ValueError:
        raise InvalidRequest("is not a form that can be read", field="body") from None
