"""moto as a server: what several processes share, on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import httpx
from moto.server import ThreadedMotoServer

_SETTINGS = {"lambda": {"use_docker": False}}


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Run moto in a thread; gives its endpoint. With its end all that is in it is gone."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request is no news
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        httpx.post(f"{endpoint}/moto-api/config", json=_SETTINGS, timeout=60).raise_for_status()
        yield endpoint
    finally:
        server.stop()
