"""One request to a Cloud Run address. An ASGI application.

unknown host, or a tag that is none          404
the invoker is asked for an identity         403
stopped, or the revision does not start      503
longer than the revision's time-out          504
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployment.providers.local.front import Front
from deployment.providers.local.guard import Guard
from deployment.providers.local.processes import StartFailed
from devstack.clouds.gcp.api.requests import ApiError, Document
from devstack.clouds.gcp.cloud import Cloud
from devstack.clouds.gcp.gateway.hosts import Address, address_of
from devstack.clouds.gcp.gateway.instances import Instances

_CLOSE_SECONDS = 30.0


class Addresses:
    """Answers every request to every service."""

    def __init__(self, cloud: Cloud, folder: Path, guard: Guard) -> None:
        self._cloud = cloud
        self._instances = Instances(folder, cloud.run.ground, guard)
        self._fronts: dict[Address, Front] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        self._loop = asyncio.get_running_loop()
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        address = address_of(host)
        refusal = self._refusal(address)
        if address is None or refusal is not None:
            await _answer(send, *(refusal or (404, "Page not found")))
            return
        try:
            front = await self._front(address)
        except (StartFailed, ApiError) as error:
            print(f"{address.service}: {error}", file=sys.stderr, flush=True)
            await _answer(send, 503, "Service Unavailable")
            return
        await front(dict(scope), receive, send)

    def close(self) -> None:
        """End all processes; while the server still runs, to whose event loop they belong."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CLOSE_SECONDS)

    async def _close(self) -> None:
        await self._instances.end_all()
        for front in self._fronts.values():
            await front.close()

    def _refusal(self, address: Address | None) -> tuple[int, str] | None:
        run = self._cloud.run
        if address is None or address.region != run.region or address.service not in run.services:
            return 404, "Page not found"
        service = run.services[address.service].document
        outside = service.get("ingress", "INGRESS_TRAFFIC_ALL") == "INGRESS_TRAFFIC_ALL"
        if not outside or (service.get("defaultUriDisabled") and not address.tag):
            return 404, "Page not found"
        if not service.get("invokerIamDisabled"):
            return 403, "Your client does not have permission to get URL from this server."
        if run.is_stopped(address.service) and not address.tag:
            return 503, "Service Unavailable"
        return None if run.leads_to(address.service, address.tag) else (404, "Page not found")

    async def _front(self, address: Address) -> Front:
        """Return the way to the revisions that an address leads to now, all of which listen."""
        led = self._cloud.run.leads_to(address.service, address.tag)
        shares = {await self._instances.of(revision): percent for revision, percent in led}
        self._instances.keep_only(self._led_to())
        front = self._fronts.setdefault(address, Front(address.service))
        front.weights.set(shares)
        return front

    def _led_to(self) -> set[str]:
        run = self._cloud.run
        every = [
            revision
            for name, service in run.services.items()
            for tag in {"", *(each.get("tag", "") for each in service.routed)}
            for revision, _ in run.leads_to(name, tag)
        ]
        return {_uid(revision) for revision in every}


def _uid(revision: Document) -> str:
    return str(revision["uid"])


async def _answer(send: Any, status: int, text: str) -> None:
    content = json.dumps({"message": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
