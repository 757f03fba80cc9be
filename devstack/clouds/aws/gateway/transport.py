"""An httpx transport that leads function URLs to the gateway, and every other URL where it belongs."""

from __future__ import annotations

import httpx

_SUFFIX = ".on.aws"


class GatewayTransport(httpx.BaseTransport):
    """Sends what is meant for a function URL to a port of this machine; the Host stays the URL's own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(_SUFFIX):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()
