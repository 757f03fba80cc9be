"""Deploying to Google Cloud: the real planner, executor and client libraries, on emulated APIs by HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.cloud.run_v2.types import Service, UpdateServiceRequest
from google.protobuf.field_mask_pb2 import FieldMask

from deployment.errors import ForeignResource, ProbeFailed, ProviderError, Refused, WorldMoved
from deployment.planner import Canary
from deployment.policies import READS_SECRETS
from deployment.providers.gcp.bindings import granted
from deployment.providers.gcp.calls import ONCE
from deployment.providers.gcp.capacity import Capacities, wanted
from deployment.providers.gcp.provider import GcpProvider
from deployment.providers.gcp.services import Services
from deployment.resources import Kind
from deployment.states import SecretPin
from deployment.steps import Ensure
from devstack.clouds.gcp.api.run_rules import BY_REVISION
from devstack.clouds.gcp.api.world import PROJECT, Pace
from devstack.clouds.gcp.faults import CrashAt
from tests.unit.deployment.cloud_kit import BUCKET, NAMES, Probed, kind_of, outcomes_of_four_at_once
from tests.unit.deployment.gcp_kit import IMAGES, VARIABLE, Site, World, environment, new_site, state
from tests.unit.deployment.memory_kit import Killed

LANE = "free_stream"
SERVICE = "sluice-staging-free-stream"
ACCOUNT = f"{SERVICE}@{PROJECT}.iam.gserviceaccount.com"
SECRETS = f"projects/{PROJECT}/secrets"
SERVICES = f"{PROJECT}/locations/europe-west3/services"
ALL = f"/v2/projects/{SERVICES}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site() as site:
        yield site


@pytest.fixture
def empty(site: Site, tmp_path: Path) -> World:
    return site.world(tmp_path, (LANE,))


@pytest.fixture
def world(site: Site, tmp_path: Path) -> World:
    """One function, with everything of its first release."""
    return site.world(tmp_path, (LANE,), released=True)


@pytest.fixture
def both(site: Site, tmp_path: Path) -> World:
    """Two functions, of which one knows the other's address."""
    return site.world(tmp_path, NAMES, released=True)


def patch(world: World, fields: str, **service: Any) -> None:
    """Change a service as somebody does by hand."""
    world.clients.rest.session.patch(
        f"http://{world.clients.rest.access.host('run')}{ALL}/{SERVICE}?updateMask={fields}",
        json=service,
        timeout=60,
    ).raise_for_status()
    world.provider()._services.require(LANE)


def revision_of(world: World, name: str = LANE) -> str:
    """Return the one revision that a function's address leads to."""
    (fingerprint,) = world.live(name)
    return next(each.id for each in world.function(name).revisions if each.fingerprint == fingerprint)


def document(world: World, name: str = SERVICE) -> dict[str, Any]:
    return world.cloud.run.services[name].document


def test_a_second_apply_plans_nothing_and_writes_nothing(both: World) -> None:
    assert both.apply(both.wanted()).empty
    assert both.writes() == []


def test_looking_writes_nothing(both: World) -> None:
    both.provider().check()
    both.provider(at_once=8).observe(NAMES)
    assert [str(call) for call in both.cloud.recorder.writes()] == []


def test_functions_looked_at_at_once_are_the_same_as_one_after_another(both: World) -> None:
    assert both.provider(at_once=8).observe(NAMES) == both.provider(at_once=1).observe(NAMES)


def test_a_released_function_is_a_revision_behind_an_address_known_beforehand(world: World) -> None:
    found = world.function(LANE)
    assert found.url == "https://sluice-staging-free-stream-123456789012.europe-west3.run.app"
    (revision,) = found.revisions
    assert revision.id == f"{SERVICE}-{revision.fingerprint}"
    assert found.live == {revision.fingerprint: 100}
    made = world.cloud.run.services[SERVICE].revisions[revision.id]
    (container,) = made["containers"]
    variables = {each["name"]: each.get("value", each.get("valueSource")) for each in container["env"]}
    assert variables == {
        "ROUTE_URL": found.url,
        "SLUICE_ENV": "staging",
        "THREADS": "8",
        VARIABLE: {"secretKeyRef": {"secret": "sluice-staging-redis-url", "version": "1"}},
    }
    assert [*container["command"], *container["args"]] == ["/bin/sh", "run.sh"]
    assert (container["image"], container["baseImageUri"]) == ("scratch", "python313")
    assert container["sourceCode"]["cloudStorageSource"]["object"].startswith("packages/aaaa")
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    assert (made["timeout"], made["maxInstanceRequestConcurrency"]) == ("30s", 8)


def test_each_function_runs_as_a_service_account_of_its_own(both: World) -> None:
    accounts = {
        revision["serviceAccount"]
        for service in both.cloud.run.services.values()
        for revision in service.revisions.values()
    }
    assert accounts == {ACCOUNT, f"sluice-staging-actions@{PROJECT}.iam.gserviceaccount.com"}


@pytest.mark.parametrize("name", NAMES)
def test_each_function_can_read_its_own_secrets_and_no_other(both: World, name: str) -> None:
    email = f"sluice-staging-{name.replace('_', '-')}@{PROJECT}.iam.gserviceaccount.com"
    own = {
        f"sluice-staging-{variable.lower().replace('_', '-')}"
        for variable in both.environment.secrets_of(both.specs[name])
    }
    assert {
        secret for secret in both.cloud.secrets.secrets if both.cloud.secrets.may_read(email, secret)
    } == own
    assert own < both.cloud.secrets.secrets.keys()


def test_only_the_producer_may_touch_the_bucket_of_images(both: World) -> None:
    policy = both.cloud.world.policy(f"projects/_/buckets/{IMAGES}")
    assert granted(policy, f"serviceAccount:{ACCOUNT}") == []
    (grant,) = granted(policy, f"serviceAccount:sluice-staging-actions@{PROJECT}.iam.gserviceaccount.com")
    assert f"{IMAGES}/objects/staging/images/" in grant.condition


def test_no_function_has_a_role_on_the_project_or_on_the_bucket_of_packages(both: World) -> None:
    assert both.cloud.world.policy(f"projects/{PROJECT}")["bindings"] == []
    assert both.cloud.world.policy(f"projects/_/buckets/{BUCKET}")["bindings"] == []


def test_only_what_changed_is_published(both: World) -> None:
    plan = both.apply(both.wanted(state(LANE, "b")))
    assert kind_of(plan) == ["Upload", "Publish", "Probe", "Shift", "Record"]
    assert {getattr(step, "function", LANE) for step in plan.steps} == {LANE}
    assert [call for call in both.writes() if call.startswith("run")] == [
        f"run:update_service {SERVICES}/{SERVICE}"
    ] * 3  # the revision, the candidate's address, live


def test_another_setting_is_another_revision_without_an_upload(world: World) -> None:
    plan = world.apply(world.wanted(state(LANE, timeout_seconds=31)))
    assert kind_of(plan) == ["Publish", "Probe", "Shift", "Record"]
    assert not [call for call in world.writes() if "packages/" in call]


def test_a_state_that_was_there_is_not_published_again(world: World) -> None:
    world.apply(world.wanted(state(LANE, "b")))
    world.writes()
    plan = world.apply(world.wanted(state(LANE, "a")))
    assert kind_of(plan) == ["Probe", "Shift", "Record"]
    assert len([call for call in world.writes() if call.startswith("run")]) == 2


def test_publishing_twice_is_publishing_once(world: World) -> None:
    world.provider().publish(state(LANE).resolved(world.observe().urls))
    assert world.writes() == []


def test_secrets_of_another_version_are_another_revision(world: World) -> None:
    pin = SecretPin("sluice-staging-redis-url", "2")
    assert world.provider().secrets.put(pin.name, "redis://another", request_id="2") == "2"
    world.apply(world.wanted(state(LANE, secrets={VARIABLE: pin})))
    ground = world.cloud.run.ground
    revisions = world.cloud.run.services[SERVICE].revisions
    values = [ground.environment(each).get(VARIABLE) for each in revisions.values()]
    assert values == [None, f"the value of {VARIABLE}", "redis://another"]


def test_a_new_revision_takes_no_call_before_it_was_probed(world: World) -> None:
    before = world.live(LANE)
    resolved = state(LANE, "b").resolved(world.observe().urls)
    world.provider().upload(resolved.code, world.package(resolved.code))
    world.provider().publish(resolved)
    assert world.live(LANE) == before
    assert len(world.function(LANE).revisions) == 2


def test_a_failed_probe_leaves_live_where_it_was(world: World) -> None:
    before = world.live(LANE)
    with pytest.raises(ProbeFailed):
        world.apply(world.wanted(state(LANE, "b")), prober=Probed(frozenset("b")))
    assert world.live(LANE) == before


def test_a_candidate_is_probed_at_an_address_that_is_its_own_alone(world: World) -> None:
    prober = Probed()
    world.apply(world.wanted(state(LANE, "b")), prober=prober)
    ((name, url),) = prober.asked
    assert name == LANE
    tag = url.removeprefix("https://").partition("---")[0]
    assert url == f"https://{tag}---{SERVICE}-123456789012.europe-west3.run.app"
    ((revision, _),) = world.cloud.run.leads_to(SERVICE, tag)
    assert revision["name"].endswith(revision_of(world))
    assert [each for each in document(world)["traffic"] if each.get("tag")] == [
        {"type": BY_REVISION, "revision": revision_of(world), "percent": 100, "tag": tag}
    ]


def test_the_last_candidates_address_is_gone_with_the_next_one(world: World) -> None:
    prober = Probed()
    for code in "bc":
        world.apply(world.wanted(state(LANE, code)), prober=prober)
    tags = [url.removeprefix("https://").partition("---")[0] for _, url in prober.asked]
    assert [bool(world.cloud.run.leads_to(SERVICE, tag)) for tag in tags] == [False, True]


def test_a_canary_leads_a_part_to_the_new_revision(world: World) -> None:
    (old,) = world.live(LANE)
    resolved = state(LANE, "b").resolved(world.observe().urls)
    provider = world.provider()
    provider.upload(resolved.code, world.package(resolved.code))
    provider.publish(resolved)
    new = str(resolved.fingerprint)
    provider.candidate(LANE, new)
    provider.shift(LANE, {new: 10, old: 90})
    assert world.live(LANE) == {new: 10, old: 90}
    provider.shift(LANE, {new: 100})
    assert world.live(LANE) == {new: 100}


def test_a_canary_goes_live_in_parts(world: World) -> None:
    world.apply(world.wanted(state(LANE, "b")), canary=Canary((10, 50, 100), 7))
    assert world.waits.count(7) == 2
    assert [
        each.fingerprint for each in world.function(LANE).revisions if each.fingerprint in world.live(LANE)
    ]
    assert world.plan(world.wanted(state(LANE, "b"))).empty


def binding(role: str, resource: str) -> Callable[[World], Any]:
    """Return a change by which somebody gives a function's account a role."""

    def change(world: World) -> None:
        policy = world.cloud.world.policy(resource)
        bindings = [*policy["bindings"], {"role": role, "members": [f"serviceAccount:{ACCOUNT}"]}]
        world.cloud.world.set_policy(resource, {**policy, "bindings": bindings})

    return change


def unbound(world: World) -> None:
    policy = world.cloud.world.policy(f"{SECRETS}/sluice-staging-redis-url")
    world.cloud.world.set_policy(f"{SECRETS}/sluice-staging-redis-url", {**policy, "bindings": []})


def tagged(world: World) -> None:
    traffic = [
        *document(world)["traffic"],
        {"type": BY_REVISION, "revision": revision_of(world), "tag": "mine"},
    ]
    patch(world, "traffic", traffic=traffic)


TOKEN = f"{SECRETS}/sluice-staging-qstash-token"
HANDS: dict[str, tuple[Callable[[World], Any], str, str]] = {
    "another's secret": (binding(READS_SECRETS, TOKEN), "identity", f"on.{TOKEN}"),
    "a role on the project": (
        binding("roles/editor", f"projects/{PROJECT}"),
        "identity",
        f"on.projects/{PROJECT}",
    ),
    "more than reading": (
        binding("roles/secretmanager.admin", f"{SECRETS}/sluice-staging-redis-url"),
        "identity",
        f"on.{SECRETS}/sluice-staging-redis-url",
    ),
    "the bucket of images": (
        binding("roles/storage.admin", f"projects/_/buckets/{IMAGES}"),
        "identity",
        f"on.projects/_/buckets/{IMAGES}",
    ),
    "a secret taken away": (unbound, "identity", f"on.{SECRETS}/sluice-staging-redis-url"),
    "the ingress": (
        lambda w: patch(w, "ingress", ingress="INGRESS_TRAFFIC_INTERNAL_ONLY"),
        "address",
        "ingress",
    ),
    "the invoker": (lambda w: patch(w, "invokerIamDisabled", invokerIamDisabled=False), "address", "invoker"),
    "the address": (
        lambda w: patch(w, "defaultUriDisabled", defaultUriDisabled=True),
        "address",
        "default_url",
    ),
    "a tag": (tagged, "address", "foreign_tags"),
    "the instances": (
        lambda w: patch(w, "scaling", scaling={"scalingMode": "AUTOMATIC", "maxInstanceCount": 99}),
        "capacity",
        "max_instances",
    ),
    "instances by hand": (
        lambda w: patch(w, "scaling", scaling={"scalingMode": "MANUAL", "manualInstanceCount": 3}),
        "capacity",
        "scaling",
    ),
}


@pytest.mark.parametrize("what", HANDS)
def test_what_was_changed_by_hand_is_in_the_plan_and_brought_back(world: World, what: str) -> None:
    before = world.content()
    change, kind, changed = HANDS[what]
    change(world)
    (step,) = world.plan(world.wanted()).steps
    assert getattr(step, "kind", None) == Kind(kind)
    assert changed in {each.property for each in getattr(step, "changes", ())}
    world.apply(world.wanted())
    assert world.content() == before
    assert world.plan(world.wanted()).empty


def test_what_others_may_do_on_a_secret_stays_when_rights_are_brought_back(world: World) -> None:
    resource = f"{SECRETS}/sluice-staging-redis-url"
    policy = world.cloud.world.policy(resource)
    theirs = {"role": READS_SECRETS, "members": ["user:ann@example.com"]}
    world.cloud.world.set_policy(resource, {**policy, "bindings": [theirs]})
    world.apply(world.wanted())
    found = world.cloud.world.policy(resource)
    assert [str(each) for each in granted(found, "user:ann@example.com")] == [READS_SECRETS]
    assert [str(each) for each in granted(found, f"serviceAccount:{ACCOUNT}")] == [READS_SECRETS]


def test_a_revision_made_by_hand_is_not_taken_for_ours_and_live_is_led_back(world: World) -> None:
    before = world.live(LANE)
    template = document(world)["template"]
    container = template["containers"][0]
    by_hand = {**template, "containers": [{**container, "env": [{"name": "LEFT", "value": "by hand"}]}]}
    by_hand.pop("revision")
    patch(
        world,
        "template,traffic",
        template=by_hand,
        traffic=[{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
    )
    (live,) = world.live(LANE)
    assert live.startswith(f"id:{SERVICE}-0")
    assert kind_of(world.apply(world.wanted())) == ["Probe", "Shift"]
    assert world.live(LANE) == before


def test_a_revision_under_a_name_of_ours_that_is_made_of_something_else_is_not_taken_for_it(
    world: World,
) -> None:
    resolved = state(LANE, "b").resolved(world.observe().urls)
    claimed = f"{SERVICE}-{resolved.fingerprint}"
    template = {**document(world)["template"], "revision": claimed, "timeout": "1s"}
    patch(world, "template,traffic", template=template, traffic=document(world)["traffic"])
    provider = world.provider()
    provider.upload(resolved.code, world.package(resolved.code))
    provider.publish(resolved)
    provider.shift(LANE, {str(resolved.fingerprint): 100})
    ((live, _),) = world.cloud.run.leads_to(SERVICE, "")
    assert live["name"].endswith(f"{claimed}-r1")
    assert live["timeout"] == "30s"


def test_a_revision_that_does_not_become_ready_is_told_and_made_again(world: World) -> None:
    before = world.live(LANE)
    pins = {VARIABLE: SecretPin("sluice-staging-redis-url", "7")}
    broken = state(LANE, secrets=pins)
    with pytest.raises(ProviderError, match=r"does not become ready: .*versions/7\] was not found"):
        world.apply(world.wanted(broken))
    assert world.live(LANE) == before
    assert broken.resolved(world.observe().urls).fingerprint not in {
        each.fingerprint for each in world.function(LANE).revisions
    }
    for number in range(2, 8):
        world.provider().secrets.put("sluice-staging-redis-url", f"redis://{number}", request_id=str(number))
    world.apply(world.wanted(broken))
    assert revision_of(world).endswith("-r1")


def test_rights_that_not_all_of_google_knows_of_yet_are_waited_for(tmp_path: Path) -> None:
    with new_site(Pace(operation_polls=2, account_calls=3, grant_checks=2)) as site:
        world = site.world(tmp_path, (LANE,))
        world.apply(world.wanted())
        assert 15.0 in world.waits
        assert world.plan(world.wanted()).empty
        assert world.live(LANE)


def test_what_cloud_run_would_refuse_is_asked_for_and_not_written(world: World) -> None:
    resolved = state(LANE, "b", timeout_seconds=3601).resolved(world.observe().urls)
    world.provider().upload(resolved.code, world.package(resolved.code))
    world.writes()
    with pytest.raises(ProviderError, match="timeout"):
        world.provider().publish(resolved)
    assert world.writes() == []


def test_a_change_that_cloud_run_still_takes_in_is_waited_for(tmp_path: Path) -> None:
    """Whoever made it was killed; what comes next must not decide on what is there halfway."""
    with new_site(Pace(operation_polls=4, account_calls=0, grant_checks=0)) as site:
        world = site.world(tmp_path, (LANE,), released=True)
        resolved = state(LANE, "b").resolved(world.observe().urls)
        world.provider().upload(resolved.code, world.package(resolved.code))
        world.inject(
            CrashAt(
                1, took_effect=True, counts=lambda call: call.operation == "update_service" and call.is_write
            )
        )
        with pytest.raises(Killed):
            world.provider().publish(resolved)
        world.inject()
        world.waits.clear()
        assert resolved.fingerprint in {each.fingerprint for each in world.function(LANE).revisions}
        assert len(world.waits) == 3


@pytest.mark.parametrize("kind", [Kind.IDENTITY, Kind.ADDRESS])
def test_what_is_somebody_elses_is_refused_and_left_alone(empty: World, kind: Kind) -> None:
    rest = empty.clients.rest
    if kind is Kind.IDENTITY:
        rest.post("iam", f"/v1/projects/{PROJECT}/serviceAccounts", {"accountId": SERVICE})
    else:
        container = {"image": "gcr.io/theirs/theirs"}
        rest.post("run", f"{ALL}?serviceId={SERVICE}", {"template": {"containers": [container]}})
        empty.provider()._services.find(LANE)
    before = empty.observe()
    with pytest.raises(ForeignResource, match=kind):
        empty.apply(empty.wanted())
    wanted = empty.wanted().resources[LANE]
    empty.cloud.recorder.clear()
    with pytest.raises(ForeignResource, match=SERVICE):
        empty.provider().ensure(LANE, kind, wanted[kind])
    empty.provider().remove(LANE)
    assert [call for call in empty.writes() if "placeholder" not in call] == []
    assert empty.observe().functions == before.functions


def test_a_foreign_service_is_neither_published_to_nor_shifted_nor_pruned(world: World) -> None:
    document(world)["labels"] = {"sluice-environment": "another"}
    provider, fingerprint = world.provider(), "a" * 12 + "-" + "b" * 12
    resolved = state(LANE).resolved({LANE: "https://a.example"})
    capacity = world.wanted().resources[LANE][Kind.CAPACITY]
    for write in (
        lambda: provider.publish(resolved),
        lambda: provider.shift(LANE, {fingerprint: 100}),
        lambda: provider.candidate(LANE, fingerprint),
        lambda: provider.prune(LANE, f"{SERVICE}-x"),
        lambda: provider.ensure(LANE, Kind.CAPACITY, capacity),
    ):
        with pytest.raises(ForeignResource):
            write()
    assert world.writes() == []


class Slow(Services):
    """Somebody changes the service after we looked at it."""

    def require(self, name: str) -> Any:
        looked_at = super().require(name)
        self.calls.maybe(self.client.update_service, CHANGE, **ONCE)
        super().require(name)
        return looked_at


CHANGE = UpdateServiceRequest(
    service=Service(name=f"projects/{SERVICES}/{SERVICE}", annotations={"by": "hand"}),
    update_mask=FieldMask(paths=["annotations"]),
)


def slow(provider: GcpProvider) -> Slow:
    real = provider._services
    return Slow(real.client, real.calls, real.names)


def test_a_revision_is_not_made_in_a_service_that_somebody_else_changes(world: World) -> None:
    provider, resolved = world.provider(), state(LANE, "b").resolved(world.observe().urls)
    provider.upload(resolved.code, world.package(resolved.code))
    vars(provider)["_revisions"] = replace(provider._revisions, services=slow(provider))
    with pytest.raises(WorldMoved, match="changed by somebody else"):
        provider.publish(resolved)
    assert len(world.function(LANE).revisions) == 1


def test_instances_are_not_changed_in_a_service_that_somebody_else_changes(world: World) -> None:
    provider = world.provider()
    vars(provider)["_capacities"] = Capacities(slow(provider))
    with pytest.raises(WorldMoved, match="changed by somebody else"):
        provider.ensure(LANE, Kind.CAPACITY, wanted(0, 77, stopped=False))
    assert world.function(LANE).resources[Kind.CAPACITY].properties["max_instances"] == 2


def test_a_service_changed_by_somebody_else_meanwhile_is_not_led_elsewhere(world: World) -> None:
    """Whatever they changed: our write was computed from what there was before."""
    world.apply(world.wanted(state(LANE, "b")))
    provider = world.provider()
    old, _ = world.function(LANE).revisions
    vars(provider)["_traffic"] = replace(provider._traffic, services=slow(provider))
    before = world.live(LANE)
    with pytest.raises(WorldMoved, match="changed by somebody else"):
        provider.shift(LANE, {old.fingerprint: 100})
    assert world.live(LANE) == before


def test_a_revision_that_is_gone_cannot_be_led_to(world: World) -> None:
    with pytest.raises(WorldMoved, match="is gone"):
        world.provider().shift(LANE, {"0" * 12 + "-" + "0" * 12: 100})


def test_a_shift_to_where_it_leads_writes_nothing(world: World) -> None:
    world.provider().shift(LANE, world.live(LANE))
    assert world.writes() == []


def test_old_revisions_go_and_neither_the_live_one_nor_the_placeholder(world: World) -> None:
    for code in "bcdef":
        world.apply(world.wanted(state(LANE, code), keep=2))
    names = [name.removeprefix(f"{SERVICE}-") for name in world.cloud.run.services[SERVICE].revisions]
    assert [name[0] for name in names if name != "placeholder"] == ["e", "f"]
    assert "placeholder" in names
    assert {code[0] for code in world.observe().artefacts} == {"e", "f"}


def test_a_revision_that_takes_calls_is_never_removed(world: World) -> None:
    with pytest.raises(Refused, match="takes calls"):
        world.provider().prune(LANE, revision_of(world))
    assert world.live(LANE)


def test_the_candidates_address_leaves_a_revision_that_is_to_go(world: World) -> None:
    with pytest.raises(ProbeFailed):
        world.apply(world.wanted(state(LANE, "b")), prober=Probed(frozenset("b")))
    broken = world.function(LANE).revisions[-1].id
    resolved = state(LANE, "c").resolved(world.observe().urls)
    world.provider().upload(resolved.code, world.package(resolved.code))
    world.provider().publish(resolved)
    world.provider().prune(LANE, broken)
    assert broken not in {each.id for each in world.function(LANE).revisions}
    assert not any(each.get("tag") for each in document(world)["traffic"])


@pytest.mark.parametrize("revision", ["", "another-service-00001-abc"])
def test_what_is_no_revision_of_the_function_is_not_pruned(world: World, revision: str) -> None:
    with pytest.raises(Refused, match="no revision"):
        world.provider().prune(LANE, revision)


def test_what_is_gone_can_be_removed_again(world: World) -> None:
    provider = world.provider()
    provider.prune(LANE, f"{SERVICE}-77")
    provider.forget_artefact("no such code")
    provider.remove(LANE)
    provider.remove(LANE)
    provider.prune(LANE, f"{SERVICE}-2")


def test_stopped_is_no_instance_at_any_address_and_the_others_are_untouched(both: World) -> None:
    plan = both.plan(both.wanted(stopped=[LANE]))
    assert [(step.function, step.kind) for step in plan.steps if isinstance(step, Ensure)] == [
        (LANE, Kind.CAPACITY)
    ]
    both.apply(both.wanted(stopped=[LANE]))
    assert document(both)["scaling"] == {"scalingMode": "MANUAL", "manualInstanceCount": 0}
    assert not any(each.get("tag") for each in document(both)["traffic"])
    assert not both.cloud.run.is_stopped("sluice-staging-actions")
    assert both.plan(both.wanted(stopped=[LANE])).empty
    both.apply(both.wanted())
    assert both.plan(both.wanted()).empty


def test_a_secret_is_bound_when_it_is_there_and_not_missed_before(both: World) -> None:
    second = "sluice-staging-auth-jwt-secret-second"
    both.provider().secrets.remove(second)
    assert both.plan(both.wanted()).empty
    both.provider().secrets.put(second, "another secret", request_id="1")
    (step,) = both.plan(both.wanted()).steps
    assert isinstance(step, Ensure)
    assert (step.function, step.kind) == ("actions", Kind.IDENTITY)
    both.apply(both.wanted())
    assert both.cloud.secrets.may_read(f"sluice-staging-actions@{PROJECT}.iam.gserviceaccount.com", second)


def test_a_bucket_of_images_that_is_not_there_is_named(both: World) -> None:
    del both.cloud.storage.buckets[IMAGES]
    with pytest.raises(ProviderError, match=f"projects/_/buckets/{IMAGES} is not there"):
        both.provider().ensure("actions", Kind.IDENTITY, {})


def test_destroying_leaves_nothing_of_ours_and_all_of_others(both: World) -> None:
    rest = both.clients.rest
    rest.post("iam", f"/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "sluice-staging-others"})
    container = {"image": "gcr.io/theirs/theirs"}
    rest.post("run", f"{ALL}?serviceId=sluice-staging-others", {"template": {"containers": [container]}})
    provider = both.provider()
    for name in NAMES:
        provider.remove(name)
    for secret in list(both.cloud.secrets.secrets):
        provider.secrets.remove(secret)
    provider.objects.destroy()
    assert both.observe().functions == {}
    assert list(both.cloud.run.services) == ["sluice-staging-others"]
    assert list(both.cloud.world.accounts) == [f"sluice-staging-others@{PROJECT}.iam.gserviceaccount.com"]
    assert list(both.cloud.storage.buckets) == [IMAGES]
    assert both.cloud.secrets.secrets == {}
    left = [each for policy in both.cloud.world.policies.values() for each in policy["bindings"]]
    assert "sluice-staging-" not in json.dumps(left)


def test_of_several_that_deploy_at_once_exactly_one_proceeds(world: World) -> None:
    outcomes = outcomes_of_four_at_once([world.provider().objects for _ in range(4)])
    assert outcomes == ["held", "held", "held", "proceeds"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"project": "another-project"}, "do not lead to the project another-project"),
        ({"project_number": "999999999999"}, r"has the number 123456789012.*declares 999999999999"),
    ],
    ids=["project", "number"],
)
def test_credentials_or_numbers_of_another_project_are_refused(
    empty: World, changed: dict[str, str], told: str
) -> None:
    place = environment().gcp
    assert place is not None
    with pytest.raises(Refused, match=told):
        empty.provider(gcp=place.model_copy(update=changed)).check()


def test_another_architecture_than_cloud_runs_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="arm64"):
        world.provider().publish(state(LANE, architecture="arm64").resolved(world.observe().urls))


def test_names_of_two_environments_never_meet(world: World) -> None:
    other = World(world.cloud, world.clients, world.folder, environment(name="prod"))
    assert other.provider().observe(NAMES).functions == {}
