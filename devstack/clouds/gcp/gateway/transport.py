"""An httpx transport that leads Cloud Run's addresses to the emulator, and every other where it belongs."""

from __future__ import annotations

import httpx

from devstack.clouds.gcp.gateway.hosts import DOMAIN


class GatewayTransport(httpx.BaseTransport):
    """Sends what is meant for a service to a port of this machine; the Host stays the service's own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(DOMAIN):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()
