"""The page's server: static files, and what the page cannot do by itself.

    /dev/sse                    the page; /dev/static, /dev/samples, /dev/font: what it loads
    /dev/config, /dev/token     addresses and limits; a user's token, as the product's sign-in would give it
    /dev/live                   the lanes over the last minutes, open tasks, what is broken, what happened
    /dev/ops                    to the operators' page, which is a part of `actions`
    POST /dev/markdown          a model's text as HTML that is safe to show
    POST /dev/coins             grants a user coins, or takes them, so that both tiers can be had
    POST /dev/faults/{name}     breaks something

It hands a token to whoever asks, so it exists for the dev stack only, listens on 127.0.0.1, answers under
that name alone, and takes orders as JSON only, which no other page can send it.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from devstack.demo.material import SAMPLES, draw, sample
from devstack.demo.paper import FONT
from devstack.page.breaking import Breaker, NoSuchFault
from devstack.page.live import Live
from devstack.page.markdown import to_html
from devstack.page.story import Story
from devstack.serving import AppServer
from devstack.stack import Stack
from shared.routing import (
    CREATE_SERVICE_TEXT,
    CUSTOMIZE_RESUME,
    INTERVIEW_TIPS,
    UPLOAD_DETAILED_RESUME,
    UPLOAD_RESUME,
)
from shared.state.quota import grant

PAGE_PATH = "/dev/sse"
MAX_COINS = 1_000
MAX_TEXTS = 50
_STATIC = Path(__file__).with_name("static")
_CLIENT = Path(__file__).parents[2] / "client" / "sluice.js"
_FILES = frozenset(path.name for path in SAMPLES.iterdir())
_PLANS = (UPLOAD_RESUME, UPLOAD_DETAILED_RESUME, CREATE_SERVICE_TEXT, CUSTOMIZE_RESUME, INTERVIEW_TIPS)
_FRESH = {"Cache-Control": "no-cache"}


class Page:
    """The page's answers, for a running stack."""

    def __init__(self, stack: Stack, live: Live, story: Story, breaker: Breaker) -> None:
        self._stack = stack
        self._live = live
        self._story = story
        self._breaker = breaker

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse(PAGE_PATH)),
                Route(PAGE_PATH, self._page),
                Route("/dev/config", self._config),
                Route("/dev/ops", lambda _: RedirectResponse(f"{self._stack.url('actions')}/ops")),
                Route("/dev/token", self._token),
                Route("/dev/gauges", self._gauges),
                Route("/dev/live", self._look),
                Route("/dev/markdown", self._markdown, methods=["POST"]),
                Route("/dev/coins", self._coins, methods=["POST"]),
                Route("/dev/faults/{name}", self._fault, methods=["POST"]),
                Route("/dev/samples/advertisement.png", self._drawn),
                Route("/dev/samples/{name}", self._sample),
                Route("/dev/font/cjk.otf", self._font),
                Route("/dev/static/sluice.js", lambda _: FileResponse(_CLIENT, headers=_FRESH)),
                Mount("/dev/static", StaticFiles(directory=_STATIC)),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        )

    # -- what the page loads ---------------------------------------------------------------------------------

    def _page(self, _: Request) -> Response:
        rules = {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "font-src": "'self'",
            "img-src": "'self' data: blob:",
            "connect-src": f"'self' {self._stack.url('actions')} {self._stack.url('events')}",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        policy = "; ".join(f"{name} {sources}" for name, sources in rules.items())
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy}
        return FileResponse(_STATIC / "index.html", headers=headers)

    def _sample(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            raise HTTPException(404, "no such sample")
        return FileResponse(SAMPLES / name)

    def _drawn(self, _: Request) -> Response:
        return Response(draw(sample("job-image.en")), media_type="image/png")

    def _font(self, _: Request) -> Response:
        """Serve Chinese letters to a machine that has none of its own."""
        return FileResponse(FONT, headers={"Cache-Control": "max-age=86400"})

    # -- what it asks ----------------------------------------------------------------------------------------

    def _config(self, _: Request) -> Response:
        return JSONResponse(
            {
                "actionsUrl": self._stack.url("actions"),
                "eventsUrl": self._stack.url("events"),
                "actions": {plan.action: {"cost": plan.cost} for plan in _PLANS},
                "lanes": self._live.lanes(),
                "hasStandIn": self._breaker.has_stand_in,
            }
        )

    def _token(self, request: Request) -> Response:
        return JSONResponse({"token": self._stack.user_token(request.query_params.get("user") or "dev")})

    def _gauges(self, _: Request) -> Response:
        return JSONResponse(self._stack.gauges().to_json())

    def _look(self, request: Request) -> Response:
        after, told = (_number(request.query_params.get(name)) for name in ("after", "told"))
        return JSONResponse(
            self._live.after(after) | {"faults": self._breaker.to_json(), "story": self._story.after(told)}
        )

    # -- what it orders --------------------------------------------------------------------------------------

    async def _markdown(self, request: Request) -> Response:
        texts = (await _order(request)).get("texts")
        if (
            not isinstance(texts, list)
            or len(texts) > MAX_TEXTS
            or not all(isinstance(t, str) for t in texts)
        ):
            raise HTTPException(400, f"texts: a list of at most {MAX_TEXTS} texts")
        return JSONResponse({"html": [to_html(text) for text in texts]})

    async def _coins(self, request: Request) -> Response:
        order = await _order(request)
        user, coins = order.get("user"), order.get("coins")
        if not isinstance(user, str) or type(coins) is not int or not 0 < abs(coins) <= MAX_COINS:
            raise HTTPException(400, "user: a name; coins: a number of them")
        return JSONResponse({"status": await run_in_threadpool(self._grant, user, coins)})

    def _grant(self, user: str, coins: int) -> str:
        quota = httpx.get(
            f"{self._stack.url('actions')}/quota", headers=self._stack.authorization(user)
        ).raise_for_status()
        store = self._stack.open_store()
        try:
            # A user who was never seen has no ledger yet, and what a new one has for a balance.
            reference = f"page {secrets.token_hex(4)}"
            return grant(store, user, coins, reference, initial=quota.json()["balance"]).status
        finally:
            store.close()

    async def _fault(self, request: Request) -> Response:
        order = await _order(request)
        try:
            await run_in_threadpool(self._breaker.cause, request.path_params["name"], order.get("lane"))
        except NoSuchFault as error:
            raise HTTPException(404, f"no such fault: {error}") from error
        return JSONResponse(self._breaker.to_json())


async def _order(request: Request) -> dict[str, Any]:
    """Return an order's fields. JSON alone is taken: another origin's page may not send that unasked."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415, "JSON, please")
    try:
        fields = await request.json()
    except ValueError as error:
        raise HTTPException(400, "this is no JSON") from error
    if not isinstance(fields, dict):
        raise HTTPException(400, "an object, please")
    return fields


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


class PageServer(AppServer):
    """The page's server in a thread of this process; a context manager.

    Args:
        stack: runs, with `proxied=True` and `fronted=("events",)`, so that its network can be cut.
        port: 0 picks a free one.
        listener: listens already, in place of `port`: the stack knows the page's origin before there is one.
        has_stand_in: whether the stand-in answers, which alone can be broken from here.
    """

    def __init__(
        self,
        stack: Stack,
        port: int = 0,
        *,
        listener: socket.socket | None = None,
        has_stand_in: bool = True,
    ) -> None:
        self._live = Live(stack)
        story = Story()
        self._breaker = Breaker(stack, story, has_stand_in)
        application = Page(stack, self._live, story, self._breaker).application()
        super().__init__(application, name="page", port=port, listener=listener)

    @property
    def url(self) -> str:
        return f"{self.origin}{PAGE_PATH}"

    def __enter__(self) -> Self:
        self._live.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._breaker.close()
        self._live.__exit__(kind, error, trace)
