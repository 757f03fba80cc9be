"""Cloud Run's addresses on this machine: real processes of what was uploaded, found by host names."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials

from deployment.errors import ProviderError
from deployment.providers.gcp.clients import Access, Clients
from deployment.providers.local.guard import Guard
from deployment.resources import Kind
from deployment.states import SecretPin
from devstack.clouds.gcp.api.world import PROJECT, Pace
from devstack.clouds.gcp.cloud import Cloud
from devstack.clouds.gcp.gateway.addresses import Addresses
from devstack.clouds.gcp.gateway.hosts import Address, address_of
from devstack.clouds.gcp.gateway.transport import GatewayTransport
from devstack.clouds.gcp.serving import Apis
from devstack.frontend import until
from devstack.serving import AppServer
from tests.unit.deployment.gcp_kit import IMAGES, VARIABLE, World, state

LANE = "free_stream"
HOST = "sluice-staging-free-stream-123456789012.europe-west3.run.app"
URL = f"https://{HOST}"
AT_ONCE = Pace(operation_polls=0, account_calls=0, grant_checks=0)
TELLS = """
import http.server, json, os
class Tells(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told = {"path": self.path, "host": self.headers["Host"], "sent": sent, "environment": dict(os.environ),
                "code": open("main.py").read(), "pid": os.getpid()}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Tells).serve_forever()
"""

pytestmark = pytest.mark.timeout(180)  # processes start, on a machine that may be busy


class Telling(World):
    """A world whose packages run: each tells what it was asked, and what it found in its environment."""

    def package(self, code: str) -> Path:
        file = self.folder / f"{code}.zip"
        if not file.exists():
            with zipfile.ZipFile(file, "w") as archive:
                for name, text in (("main.py", code), ("tells.py", TELLS), ("run.sh", _RUN)):
                    archive.writestr(zipfile.ZipInfo(name), text)
        return file


_RUN = '#!/bin/sh\ncd "$(dirname "$0")" && exec python3 tells.py\n'


@contextmanager
def running(folder: Path) -> Iterator[tuple[World, httpx.Client]]:
    cloud, guard = Cloud(pace=AT_ONCE), Guard()
    addresses = Addresses(cloud, folder, guard)
    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        with AppServer(Apis(cloud, addresses), name="gcp") as server:
            clients = Clients(Access(anonymous, f"127.0.0.1:{server.port}"), PROJECT)
            world = Telling(cloud, clients, folder, names=(LANE,))
            clients.rest.post("storage", f"/storage/v1/b?project={PROJECT}", {"name": IMAGES})
            world.put_secrets()
            with httpx.Client(transport=GatewayTransport(server.port), timeout=60) as client:
                yield world, client
            addresses.close()
            clients.close()
    finally:
        guard.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[World, httpx.Client]]:
    with running(tmp_path) as made:
        yield made


def prepared(world: World) -> None:
    """Make the function with its address, and no release."""
    provider, wanted = world.provider(), world.wanted().resources[LANE]
    provider.objects.ensure()
    for kind in (Kind.IDENTITY, Kind.ADDRESS):
        provider.ensure(LANE, kind, wanted[kind])


def told(client: httpx.Client, url: str = URL) -> dict[str, object]:
    answer = client.post(f"{url}/free/stream/job_match", content=b"as it was sent")
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    return document


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (HOST, Address("sluice-staging-free-stream", "", "europe-west3")),
        (f"c-0a1b2c3d---{HOST}:443", Address("sluice-staging-free-stream", "c-0a1b2c3d", "europe-west3")),
        ("sluice-staging-free-stream-999999999999.europe-west3.run.app", None),
        ("127.0.0.1:8080", None),
    ],
)
def test_a_host_name_says_which_service_and_which_tag(host: str, address: Address | None) -> None:
    assert address_of(host) == address


def test_before_the_first_release_an_address_answers_503(gateway: tuple[World, httpx.Client]) -> None:
    world, client = gateway
    assert client.post(f"{URL}/free/stream/job_match").status_code == 404
    prepared(world)
    answer = client.post(f"{URL}/free/stream/job_match", content=b"{}")
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")


def test_a_released_function_runs_from_its_package_with_its_variables_and_secrets(
    gateway: tuple[World, httpx.Client],
) -> None:
    world, client = gateway
    world.apply(world.wanted())
    said = told(client)
    assert (said["path"], said["host"], said["sent"]) == ("/free/stream/job_match", HOST, "as it was sent")
    assert str(said["code"]).startswith("aaaa")
    environment = said["environment"]
    assert isinstance(environment, dict)
    own = {"HOST", "PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
    system = {"HOME", "LANG", "PATH", "PWD", "PYTHONUNBUFFERED", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert environment.keys() - own - system == {"ROUTE_URL", "SLUICE_ENV", "THREADS", VARIABLE}
    assert (environment["ROUTE_URL"], environment["THREADS"]) == (URL, "8")
    assert environment[VARIABLE] == f"the value of {VARIABLE}"


def test_a_candidate_answers_at_its_own_address_while_the_old_one_is_live(
    gateway: tuple[World, httpx.Client],
) -> None:
    world, client = gateway
    world.apply(world.wanted())
    provider, resolved = world.provider(), state(LANE, "b").resolved({LANE: URL})
    provider.upload(resolved.code, world.package(resolved.code))
    provider.publish(resolved)
    candidate = provider.candidate(LANE, str(resolved.fingerprint))
    assert [str(told(client, url)["code"])[0] for url in (URL, candidate)] == ["a", "b"]
    (old,) = world.live(LANE)
    provider.shift(LANE, {old: 50, str(resolved.fingerprint): 50})
    assert sorted(str(told(client)["code"])[0] for _ in range(4)) == ["a", "a", "b", "b"]


def test_a_revision_that_nothing_leads_to_any_more_ends(gateway: tuple[World, httpx.Client]) -> None:
    world, client = gateway
    world.apply(world.wanted())
    pid = told(client)["pid"]
    world.apply(world.wanted(state(LANE, "b")))
    assert str(told(client)["code"]).startswith("b")
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or None, "the old revision to end", 60)


def test_a_stopped_function_answers_503_and_again_after_it_was_started(
    gateway: tuple[World, httpx.Client],
) -> None:
    world, client = gateway
    world.apply(world.wanted())
    provider = world.provider()
    for stopped, status in ((True, 503), (False, 200)):
        capacity = provider.resources(world.specs[LANE], stopped=stopped)[Kind.CAPACITY]
        provider.ensure(LANE, Kind.CAPACITY, capacity)
        answer = client.post(f"{URL}/free/stream/job_match", content=b"{}")
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("invokerIamDisabled", False, 403),
        ("ingress", "INGRESS_TRAFFIC_INTERNAL_ONLY", 404),
        ("defaultUriDisabled", True, 404),
    ],
)
def test_a_door_closed_by_hand_is_closed(
    gateway: tuple[World, httpx.Client], field: str, value: object, status: int
) -> None:
    world, client = gateway
    world.apply(world.wanted())
    world.cloud.run.services["sluice-staging-free-stream"].document[field] = value
    assert client.post(f"{URL}/free/stream/job_match").status_code == status


def test_a_process_cannot_have_a_secret_that_its_account_may_not_read(
    gateway: tuple[World, httpx.Client],
) -> None:
    """Whatever pins it: the rights are looked at when the process starts."""
    world, client = gateway
    world.apply(world.wanted())
    policy = world.cloud.world.policies[f"projects/{PROJECT}/secrets/sluice-staging-redis-url"]
    policy["bindings"] = []
    assert client.post(f"{URL}/free/stream/job_match").status_code == 503


def test_another_functions_secret_makes_no_revision(gateway: tuple[World, httpx.Client]) -> None:
    world, _ = gateway
    prepared(world)
    theirs = {"QSTASH_TOKEN": SecretPin("sluice-staging-qstash-token", "1")}
    greedy = replace(state(LANE), secrets=theirs).resolved({LANE: URL})
    provider = world.provider()
    provider.upload(greedy.code, world.package(greedy.code))
    with pytest.raises(ProviderError, match="Permission denied on secret: sluice-staging-qstash-token"):
        provider.publish(greedy)
