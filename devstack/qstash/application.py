"""The ASGI application: who may call, and the faults that a publisher meets."""

from __future__ import annotations

import asyncio

from devstack.qstash.faults import Faults
from devstack.qstash.routes import Router
from devstack.qstash.wire import Receive, Reply, Request, Scope, Send, read_request, send_reply

_PUBLISHES = ("/v2/publish/", "/v2/enqueue/", "/v2/batch")


class Application:
    def __init__(self, router: Router, faults: Faults, token: str) -> None:
        self._router = router
        self._faults = faults
        self._token = token
        self.stopping = asyncio.Event()
        """Set when the server ends, so that no publisher hangs on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        if not self._authorized(request):
            await send_reply(send, Reply({"error": "unauthorized"}, 401))
        elif request.path.startswith(_PUBLISHES):
            await self._publish(request, receive, send)
        else:
            await send_reply(send, self._router.answer(request))

    def _authorized(self, request: Request) -> bool:
        if request.path.startswith("/dev/"):
            return True
        given = request.query.get("qstash_token") or request.headers.get("authorization", "")
        return given.removeprefix("Bearer ") == self._token

    async def _publish(self, request: Request, receive: Receive, send: Send) -> None:
        status = self._faults.take_publish_status()
        if status is None or self._faults.publish_status_accepts:
            reply = self._router.answer(request)
        if status == "hang":
            await self._hang(receive)
        elif status is not None:
            await send_reply(send, Reply({"error": "a fault was asked for"}, status))
        else:
            await send_reply(send, reply)

    async def _hang(self, receive: Receive) -> None:
        """Leave the publisher without an answer until it gives up."""
        waits = [asyncio.ensure_future(receive()), asyncio.create_task(self.stopping.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
