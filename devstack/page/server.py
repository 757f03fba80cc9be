"""The page's server: a few static files, and what the page cannot know by itself (addresses, tokens, gauges).

It hands a token to whoever asks, so it exists for the dev stack only and listens on 127.0.0.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from devstack.demo.material import draw, sample
from devstack.serving import AppServer
from devstack.stack import Stack
from shared.routing import Action

PAGE_PATH = "/dev/sse"
_STATIC = Path(__file__).with_name("static")
_SAMPLES = frozenset({"resume.en", "resume.zh", "history.en", "job.en", "job.zh"})


def application(stack: Stack) -> Starlette:
    """Return the page's ASGI application for a running stack."""

    def page(_: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-store"})

    def config(_: Request) -> Response:
        addresses: dict[str, Any] = {"actionsUrl": stack.url("actions"), "eventsUrl": stack.url("events")}
        return JSONResponse(addresses | {"actions": list(Action)})

    def token(request: Request) -> Response:
        return JSONResponse({"token": stack.user_token(request.query_params.get("user") or "dev")})

    def gauges(_: Request) -> Response:
        return JSONResponse(stack.gauges().to_json())

    def sample_text(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _SAMPLES:
            return PlainTextResponse("no such sample", status_code=404)
        return PlainTextResponse(sample(name))

    def sample_image(_: Request) -> Response:
        return Response(draw(sample("job-image.en")), media_type="image/png")

    return Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse(PAGE_PATH)),
            Route(PAGE_PATH, page),
            Route("/dev/config", config),
            Route("/dev/token", token),
            Route("/dev/gauges", gauges),
            Route("/dev/samples/advertisement.png", sample_image),
            Route("/dev/samples/{name}.txt", sample_text),
            Mount("/dev/static", StaticFiles(directory=_STATIC)),
        ]
    )


class PageServer(AppServer):
    """The page's server in a thread of this process; a context manager."""

    def __init__(self, stack: Stack, port: int) -> None:
        super().__init__(application(stack), name="page", port=port)

    @property
    def url(self) -> str:
        return f"{self.origin}{PAGE_PATH}"
