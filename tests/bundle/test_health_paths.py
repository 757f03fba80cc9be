"""What platforms ask to learn whether a function is up: the framework answers it, and the handler never sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deployment.bundles.staging import stage
from deployment.catalogue import load_catalogue
from devstack.processes import FunctionProcess, free_ports

CATALOGUE = load_catalogue()
SECRET = "a secret of these tests alone, 32 bytes"
SECRETS = dict.fromkeys([secret for spec in CATALOGUE.values() for secret in spec.secrets], SECRET) | {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "UPSTASH_REDIS_REST_URL": "",
    "AUTH_JWT_SECRET": f"another {SECRET}",
    "AUTH_JWT_SECRET_SECOND": "",
    "STREAM_TOKEN_SECRET_SECOND": "",
    "OPS_TOKEN": "",
    "OTEL_EXPORTER_OTLP_HEADERS": "",
}
URLS = {
    name: "http://127.0.0.1:1"
    for spec in CATALOGUE.values()
    for name in spec.variables
    if name.endswith("_URL") and name not in {"AUTH_JWKS_URL", "BLOB_URL"}
}
VARIABLES = {"PATH": os.environ["PATH"], "BLOB_URL": "file:///tmp/x", **SECRETS, **URLS}


@contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    """Serve a function from its bundle; yields its address."""
    (bundle,) = stage([CATALOGUE[name]], folder)
    process = FunctionProcess(
        name,
        bundle=bundle.folder,
        port=free_ports(1)[0],
        environment=VARIABLES,
        log_file=folder / f"{name}.log",
    )
    process.start()
    try:
        process.wait_ready(time.monotonic() + 60)
        yield f"http://127.0.0.1:{process.port}"
    finally:
        process.request_stop()
        process.wait_stopped(time.monotonic() + 5)


@pytest.mark.parametrize("name", ["paid_stream", "actions", "events"])
def test_the_path_of_readiness_checks_does_not_reach_the_handler(name: str, tmp_path: Path) -> None:
    """`/robots.txt` is what Lambda Web Adapter is told to poll: 404 means that the server listens."""
    with serving(name, tmp_path) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        checked, ours = http.get("/robots.txt"), http.get("/nothing-of-ours")
    assert (checked.status_code, ours.status_code) == (404, 404)
    assert ours.json()["error"] == "not_found"
    assert "not_found" not in checked.text
    assert not checked.headers["Content-Type"].startswith("application/json")
