"""Calls to Google Cloud: what is tried again, in whose words an error comes; and what the imitation refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.auth.exceptions import RefreshError, TransportError

from deployment.errors import Refused
from deployment.names import account_id
from deployment.providers.attempts import ATTEMPTS, ATTEMPTS_TO_CONNECT
from deployment.providers.gcp.calls import Calls, GcpError
from deployment.providers.gcp.names import Names, candidate_tag
from deployment.providers.gcp.template import _CPU_FOR_MIB
from devstack.clouds.gcp.api import run_rules
from devstack.clouds.gcp.api.requests import ApiError
from devstack.clouds.gcp.api.world import PROJECT, PROJECT_NUMBER
from tests.unit.deployment.gcp_kit import Site, World, environment, new_site

ALL = f"/v2/projects/{PROJECT}/locations/europe-west3/services"
TEMPLATE = {"containers": [{"image": "a"}]}


def told(status: int, code: str = "", message: str = "no") -> GoogleAPICallError:
    """Return the error that Google's clients make of an answer."""
    answer = requests.Response()
    answer.status_code = status
    answer.request = requests.Request("GET", "https://run.googleapis.com/v2/x").prepare()
    body = ApiError(status, code, message).answer.body
    answer._content = body
    answer.headers["Content-Type"] = "application/json"
    error: GoogleAPICallError = from_http_response(answer)  # type: ignore[no-untyped-call]
    return error


@dataclass
class Caller:
    """A method that fails in these ways, one after the other, and then answers."""

    failures: list[Exception]
    waits: list[float] = field(default_factory=list)
    attempts: int = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answered"

    def call(self) -> str:
        return Calls(self.waits.append)(self)


@pytest.mark.parametrize(
    "error",
    [
        told(429),
        told(500),
        told(503),
        told(403, message="Permission 'iam.serviceaccounts.actAs' denied on a (or it may not exist)."),
        told(400, message="Service account a@b does not exist."),
        requests.exceptions.ConnectionError("Connection aborted."),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ReadTimeout("slow"),
        TransportError("no token"),  # type: ignore[no-untyped-call]
    ],
    ids=str,
)
def test_what_passes_is_tried_again_and_waited_for(error: Exception) -> None:
    caller = Caller([error, error])
    assert caller.call() == "answered"
    assert len(caller.waits) == 2


@pytest.mark.parametrize(
    "error",
    [told(400), told(403), told(404), told(409, "ABORTED"), told(412), told(400, message="No such account")],
    ids=str,
)
def test_what_stays_is_told_at_once(error: Exception) -> None:
    caller = Caller([error] * 20)
    with pytest.raises(GcpError):
        caller.call()
    assert caller.attempts == 1


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (told(503), ATTEMPTS),
        (requests.exceptions.ConnectionError("NewConnectionError: refused"), ATTEMPTS_TO_CONNECT),
    ],
    ids=["busy", "nobody there"],
)
def test_nobody_is_waited_for_without_an_end(error: Exception, attempts: int) -> None:
    caller = Caller([error] * 20)
    with pytest.raises(GcpError) as caught:
        caller.call()
    assert caller.attempts == caught.value.attempts == attempts
    assert caught.value.transient


@pytest.mark.parametrize("error", [told(401), RefreshError("expired")], ids=["refused", "expired"])  # type: ignore[no-untyped-call]
def test_bad_credentials_are_told_with_what_to_do(error: Exception) -> None:
    with pytest.raises(Refused, match="gcloud auth application-default login"):
        Caller([error]).call()


def test_an_error_says_which_call_it_was_and_keeps_googles_words() -> None:
    def get_service() -> None:
        raise told(409, "ABORTED", "version was specified, but current is another")

    with pytest.raises(GcpError, match="get_service: ABORTED: version was specified") as caught:
        Calls()(get_service)
    assert caught.value.conflicts
    assert not caught.value.missing


def test_what_is_not_there_is_none() -> None:
    def get_service() -> None:
        raise told(404, "NOT_FOUND")

    assert Calls().maybe(get_service) is None


def test_an_account_s_id_leaves_the_prefix_out_where_google_takes_no_more() -> None:
    short, long = environment(name="staging"), environment(name="emulated-gcp")
    assert account_id(short, "paid_stream") == "sluice-staging-paid-stream"
    assert account_id(long, "paid_stream") == "emulated-gcp-paid-stream"
    assert Names(long).account("paid_stream") == f"emulated-gcp-paid-stream@{PROJECT}.iam.gserviceaccount.com"


def test_a_revision_is_known_by_its_name_alone() -> None:
    names, fingerprint = Names(environment()), "0123456789ab-cdef01234567"
    own = names.revision("free_stream", fingerprint)
    assert names.fingerprint_in("free_stream", own) == fingerprint
    assert names.fingerprint_in("free_stream", names.revision("free_stream", fingerprint, 3)) == fingerprint
    for other in (f"{own}-x", "sluice-staging-free-stream-00002-abc", names.revision("actions", fingerprint)):
        assert names.fingerprint_in("free_stream", other) == ""
    assert candidate_tag(fingerprint) == "c-0123cdef"


# --- the imitation


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site() as site:
        yield site


@pytest.fixture
def world(site: Site, tmp_path: Path) -> World:
    return site.world(tmp_path, ("free_stream",), released=True)


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"template": {**TEMPLATE, "timeout": "3601s"}}, "timeout"),
        ({"template": {**TEMPLATE, "maxInstanceRequestConcurrency": 1001}}, "concurrency"),
        ({"template": {**TEMPLATE, "revision": "another-1"}}, "must begin with a-service-"),
        ({"template": {"containers": []}}, "exactly one"),
        ({"template": {"containers": [{"image": ""}]}}, "image"),
        ({"template": {"containers": [{"image": "a", "env": [{"name": "PORT", "value": "1"}]}]}}, "reserved"),
        ({"template": {"containers": [{"image": "a", "env": [{"name": "A"}, {"name": "A"}]}]}}, "twice"),
        ({"template": {"containers": [{"image": "a", "env": [{"name": "A", "value": "x" * 32_769}]}]}}, "32 KiB"),
        ({"template": {"containers": [{"image": "a", "sourceCode": {"cloudStorageSource": {}}}]}}, "base_image"),
        (
            {"template": {"containers": [{"image": "a", "resources": {"limits": {"cpu": "1", "memory": "5Gi"}}}]}},
            "does not go with 1 CPU",
        ),
        ({"template": TEMPLATE, "traffic": [{"percent": 60}]}, "add up to 100"),
        (
            {"template": TEMPLATE, "traffic": [{"type": run_rules.BY_REVISION, "revision": "b", "percent": 100}]},
            "does not exist",
        ),
        ({"template": TEMPLATE, "traffic": [{"percent": 100, "tag": "c"}, {"tag": "c"}]}, "given twice"),
        ({"template": TEMPLATE, "traffic": [{"percent": 100, "tag": "c" * 50}]}, "63 characters"),
        ({"template": TEMPLATE, "labels": {"sluice:environment": "staging"}}, "lowercase"),
        ({"template": TEMPLATE, "scaling": {"scalingMode": "MANUAL"}}, "manual_instance_count"),
        ({"template": TEMPLATE, "scaling": {"minInstanceCount": 3, "maxInstanceCount": 2}}, "above"),
        ({"template": TEMPLATE, "noSuchField": 1}, "noSuchField"),
        ({"template": {**TEMPLATE, "serviceAccount": "nobody@nowhere"}}, "actAs"),
    ],
    ids=str,
)  # fmt: skip
def test_cloud_run_refuses_what_it_would_refuse(world: World, service: dict[str, Any], told: str) -> None:
    with pytest.raises(GcpError, match=told):
        Calls(world.wait)(world.clients.rest.post, "run", f"{ALL}?serviceId=a-service", service)
    assert "a-service" not in world.cloud.run.services


def test_a_name_of_fifty_characters_is_refused(world: World) -> None:
    with pytest.raises(GcpError, match="49"):
        Calls()(world.clients.rest.post, "run", f"{ALL}?serviceId={'a' * 50}", {"template": TEMPLATE})


def test_a_change_that_is_only_asked_for_changes_nothing(world: World) -> None:
    before = world.cloud.remember()
    world.clients.rest.post("run", f"{ALL}?serviceId=a-service&validateOnly=true", {"template": TEMPLATE})
    assert world.cloud.run.services == before.services
    assert world.cloud.recorder.writes() == ()


def test_a_revision_of_a_taken_name_is_refused(world: World) -> None:
    service = world.cloud.run.services["sluice-staging-free-stream"]
    changed = {**service.document["template"], "timeout": "7s"}
    session, host = world.clients.rest.session, world.clients.rest.access.host("run")
    answer = session.patch(
        f"http://{host}{ALL}/{service.id}?updateMask=template", json={"template": changed}, timeout=60
    )
    assert (answer.status_code, answer.json()["error"]["status"]) == (409, "ALREADY_EXISTS")


def test_what_is_called_and_the_newest_revision_cannot_be_deleted(world: World) -> None:
    service = world.cloud.run.services["sluice-staging-free-stream"]
    newest = list(service.revisions)[-1]
    for text in ("receiving traffic", "latest created"):
        with pytest.raises(GcpError, match=text):
            Calls()(world.clients.rest.delete, "run", f"{ALL}/{service.id}/revisions/{newest}")
        placeholder = [
            {"type": run_rules.BY_REVISION, "revision": f"{service.id}-placeholder", "percent": 100}
        ]
        service.routed = service.document["traffic"] = placeholder


def test_from_manual_to_automatic_scaling_half_of_the_bounds_is_refused() -> None:
    manual = run_rules.switched({}, {"scalingMode": "MANUAL", "manualInstanceCount": 0})
    with pytest.raises(ApiError, match="both bounds"):
        run_rules.switched(manual, {"scalingMode": "AUTOMATIC", "minInstanceCount": 1})
    assert run_rules.switched(manual, {"maxInstanceCount": 2})["scalingMode"] == "AUTOMATIC"


@pytest.mark.parametrize("mib", [512, 4096, 4097, 32_768])
def test_memory_is_asked_for_with_as_many_cpus_as_cloud_run_wants(mib: int) -> None:
    cpu = next(cpus for most, cpus in _CPU_FOR_MIB.items() if mib <= most)
    limits = {"cpu": cpu, "memory": f"{mib}Mi"}
    template = {"containers": [{"image": "a", "resources": {"limits": limits}}]}
    run_rules.check_service("a-service", {"template": template}, PROJECT_NUMBER)


def test_bindings_of_a_deleted_account_are_nobodys_when_it_is_made_again(world: World) -> None:
    secret, email = (
        "sluice-staging-redis-url",
        f"sluice-staging-free-stream@{PROJECT}.iam.gserviceaccount.com",
    )
    assert world.cloud.secrets.may_read(email, secret)
    accounts = f"/v1/projects/{PROJECT}/serviceAccounts"
    world.clients.rest.delete("iam", f"{accounts}/{email}")
    world.clients.rest.post("iam", accounts, {"accountId": "sluice-staging-free-stream"})
    assert not world.cloud.secrets.may_read(email, secret)


def test_a_policy_that_somebody_changed_meanwhile_is_not_overwritten(world: World) -> None:
    resource = f"projects/{PROJECT}/secrets/sluice-staging-redis-url"
    looked_at = dict(world.cloud.world.policy(resource))
    world.cloud.world.set_policy(resource, {**looked_at, "bindings": []})
    with pytest.raises(ApiError, match="concurrent policy changes"):
        world.cloud.world.set_policy(resource, looked_at)
