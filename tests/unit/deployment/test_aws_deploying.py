"""Deploying to AWS: the real planner and executor, on moto with its strictness."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deployment.errors import ForeignResource, ProbeFailed, Refused, WorldMoved
from deployment.planner import Canary
from deployment.resources import Kind
from deployment.states import SecretPin
from deployment.steps import Ensure
from tests.unit.deployment.aws_kit import World, environment, new_world, state
from tests.unit.deployment.cloud_kit import BUCKET, NAMES, Probed, kind_of, outcomes_of_four_at_once

LANE = "free_stream"
FUNCTION = "sluice-staging-free-stream"
LOG_GROUP = f"/aws/lambda/{FUNCTION}"
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}],
}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path, (LANE,)) as world:
        yield world


@pytest.fixture
def world(empty: World) -> World:
    """One function, with everything of its first release."""
    return released(empty)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    """Two functions, of which one knows the other's address."""
    with new_world(tmp_path, NAMES) as world:
        yield released(world)


def released(world: World) -> World:
    world.apply(world.wanted())
    world.aws.strict.recorder.clear()
    return world


def written(world: World) -> list[str]:
    """Return the writes since the last look, but for the lock's."""
    calls = [str(call) for call in world.aws.strict.recorder.writes()]
    world.aws.strict.recorder.clear()
    return [call for call in calls if not call.endswith("/lock.json")]


def version_of(world: World, alias: str) -> str:
    return str(world.client("lambda").get_alias(FunctionName=FUNCTION, Name=alias)["FunctionVersion"])


def test_a_second_apply_plans_nothing_and_writes_nothing(both: World) -> None:
    assert both.apply(both.wanted()).empty
    assert written(both) == []


def test_looking_writes_nothing(both: World) -> None:
    both.provider().check()
    both.provider(at_once=8).observe(NAMES)
    assert [str(call) for call in both.aws.strict.recorder.writes()] == []


def test_functions_looked_at_at_once_are_the_same_as_one_after_another(both: World) -> None:
    assert both.provider(at_once=8).observe(NAMES) == both.provider(at_once=1).observe(NAMES)


def test_a_released_function_is_a_version_behind_an_alias_with_a_public_url(world: World) -> None:
    found = world.function(LANE)
    assert found.url is not None
    assert found.url.startswith("https://")
    assert not found.url.endswith("/")
    (revision,) = found.revisions
    assert found.live == {revision.fingerprint: 100}
    config = world.client("lambda").get_function_configuration(FunctionName=FUNCTION, Qualifier="live")
    variables = config["Environment"]["Variables"]
    assert variables["ROUTE_URL"] == found.url
    assert json.loads(variables["SLUICE_SECRETS"]) == {
        "REDIS_URL": {"id": "sluice/staging/REDIS_URL", "version": "v" * 32}
    }


def test_each_function_runs_as_a_role_of_its_own(both: World) -> None:
    functions = both.client("lambda").list_functions()["Functions"]
    assert {each["Role"].rpartition("/")[2] for each in functions} == {
        "sluice-staging-actions",
        "sluice-staging-free-stream",
    }


def test_only_what_changed_is_published(both: World) -> None:
    plan = both.apply(both.wanted(state(LANE, "b")))
    assert kind_of(plan) == ["Upload", "Publish", "Probe", "Shift", "Record"]
    assert {getattr(step, "function", LANE) for step in plan.steps} == {LANE}


def test_another_setting_is_another_version_without_an_upload(world: World) -> None:
    plan = world.apply(world.wanted(state(LANE, timeout_seconds=31)))
    assert kind_of(plan) == ["Publish", "Probe", "Shift", "Record"]
    assert not [call for call in written(world) if "UpdateFunctionCode" in call]


def test_the_address_stays_through_releases(world: World) -> None:
    before = world.function(LANE).url
    world.apply(world.wanted(state(LANE, "b")))
    world.apply(world.wanted(state(LANE, "c")), canary=Canary((10, 50, 100)))
    assert world.function(LANE).url == before


def test_a_state_that_was_there_is_not_published_again(world: World) -> None:
    world.apply(world.wanted(state(LANE, "b")))
    written(world)
    plan = world.apply(world.wanted(state(LANE, "a")))
    assert kind_of(plan) == ["Probe", "Shift", "Record"]
    assert [call for call in written(world) if "lambda" in call] == [
        f"lambda:UpdateAlias {FUNCTION}",
        f"lambda:UpdateAlias {FUNCTION}",
    ]


def test_publishing_twice_is_publishing_once(world: World) -> None:
    resolved = state(LANE).resolved(world.observe().urls)
    world.provider().publish(resolved)
    assert written(world) == []


def test_secrets_of_another_version_are_another_revision(world: World) -> None:
    pins = {"REDIS_URL": SecretPin("sluice/staging/REDIS_URL", "w" * 32)}
    world.apply(world.wanted(state(LANE, secrets=pins)))
    config = world.client("lambda").get_function_configuration(FunctionName=FUNCTION, Qualifier="live")
    assert (
        json.loads(config["Environment"]["Variables"]["SLUICE_SECRETS"])["REDIS_URL"]["version"] == "w" * 32
    )
    before = world.client("lambda").get_function_configuration(FunctionName=FUNCTION, Qualifier="2")
    assert (
        json.loads(before["Environment"]["Variables"]["SLUICE_SECRETS"])["REDIS_URL"]["version"] == "v" * 32
    )


def test_a_failed_probe_leaves_live_where_it_was(world: World) -> None:
    before = world.live(LANE)
    with pytest.raises(ProbeFailed):
        world.apply(world.wanted(state(LANE, "b")), prober=Probed(frozenset("b")))
    assert world.live(LANE) == before


def test_a_candidate_is_probed_at_an_address_that_is_not_the_live_one(world: World) -> None:
    prober = Probed()
    world.apply(world.wanted(state(LANE, "b")), prober=prober)
    ((name, url),) = prober.asked
    assert name == LANE
    assert url not in world.observe().urls.values()


def test_a_canary_leads_a_part_to_the_new_version(world: World) -> None:
    (old,) = world.live(LANE)
    resolved = state(LANE, "b").resolved(world.observe().urls)
    provider = world.provider()
    provider.upload(resolved.code, world.package(resolved.code))
    provider.publish(resolved)
    new = str(resolved.fingerprint)
    provider.shift(LANE, {new: 10, old: 90})
    assert world.live(LANE) == {new: 10, old: 90}
    provider.shift(LANE, {new: 100})
    assert world.live(LANE) == {new: 100}


def hand(what: str) -> Callable[[World], Any]:
    """Return a change that somebody makes by hand."""
    wide = json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    )
    alias = {"FunctionName": FUNCTION, "Qualifier": "live"}
    changes: dict[str, Callable[[World], Any]] = {
        "the policy": lambda w: w.client("iam").put_role_policy(
            RoleName=FUNCTION, PolicyName="sluice", PolicyDocument=wide
        ),
        "another policy": lambda w: w.client("iam").put_role_policy(
            RoleName=FUNCTION, PolicyName="more", PolicyDocument=wide
        ),
        "no policy": lambda w: w.client("iam").delete_role_policy(RoleName=FUNCTION, PolicyName="sluice"),
        "an attached policy": lambda w: w.client("iam").attach_role_policy(
            RoleName=FUNCTION,
            PolicyArn=w.client("iam").create_policy(PolicyName="wide", PolicyDocument=wide)["Policy"]["Arn"],
        ),
        "the trust": lambda w: w.client("iam").update_assume_role_policy(
            RoleName=FUNCTION, PolicyDocument=json.dumps(ANYBODY)
        ),
        "the log's retention": lambda w: w.client("logs").put_retention_policy(
            logGroupName=LOG_GROUP, retentionInDays=1
        ),
        "a log kept for ever": lambda w: w.client("logs").delete_retention_policy(logGroupName=LOG_GROUP),
        "no log": lambda w: w.client("logs").delete_log_group(logGroupName=LOG_GROUP),
        "the URL's mode": lambda w: w.client("lambda").update_function_url_config(
            **alias, InvokeMode="RESPONSE_STREAM"
        ),
        "the URL's signature": lambda w: w.client("lambda").update_function_url_config(
            **alias, AuthType="AWS_IAM"
        ),
        "the URL's CORS": lambda w: w.client("lambda").update_function_url_config(
            **alias, Cors={"AllowOrigins": ["*"]}
        ),
        "a permission gone": lambda w: w.client("lambda").remove_permission(**alias, StatementId="invoke"),
        "a permission more": lambda w: w.client("lambda").add_permission(
            **alias, StatementId="x", Action="lambda:InvokeFunction", Principal="999999999999"
        ),
        "a permission for the function": lambda w: w.client("lambda").add_permission(
            FunctionName=FUNCTION, StatementId="x", Action="lambda:InvokeFunction", Principal="999999999999"
        ),
        "no candidate": lambda w: w.client("lambda").delete_alias(FunctionName=FUNCTION, Name="candidate"),
        "the concurrency": lambda w: w.client("lambda").put_function_concurrency(
            FunctionName=FUNCTION, ReservedConcurrentExecutions=99
        ),
        "no concurrency": lambda w: w.client("lambda").delete_function_concurrency(FunctionName=FUNCTION),
        "another version live": lambda w: w.client("lambda").update_alias(
            FunctionName=FUNCTION, Name="live", FunctionVersion="1"
        ),
    }
    return changes[what]


HANDS: dict[str, tuple[str, str]] = {
    "the policy": ("identity", "policy"),
    "another policy": ("identity", "other_policies"),
    "no policy": ("identity", "policy"),
    "an attached policy": ("identity", "other_policies"),
    "the trust": ("identity", "trust"),
    "the log's retention": ("logs", "retention_days"),
    "a log kept for ever": ("logs", "retention_days"),
    "no log": ("logs", "retention_days"),
    "the URL's mode": ("address", "live.url"),
    "the URL's signature": ("address", "live.url"),
    "the URL's CORS": ("address", "live.url"),
    "a permission gone": ("address", "live.callers.invoke"),
    "a permission more": ("address", "live.callers.x"),
    "a permission for the function": ("address", "function.callers.x"),
    "no candidate": ("address", "candidate.callers.invoke"),
    "the concurrency": ("capacity", "reserved_concurrency"),
    "no concurrency": ("capacity", "reserved_concurrency"),
}


@pytest.mark.parametrize("what", HANDS)
def test_what_was_changed_by_hand_is_in_the_plan_and_brought_back(world: World, what: str) -> None:
    before = world.content()
    hand(what)(world)
    (step,) = world.plan(world.wanted()).steps
    kind, changed = HANDS[what]
    assert getattr(step, "kind", None) == Kind(kind)
    assert changed in {change.property for change in getattr(step, "changes", ())}
    world.apply(world.wanted())
    assert world.content() == before
    assert world.plan(world.wanted()).empty


def test_only_what_streams_has_an_address_that_streams(empty: World) -> None:
    modes = {
        name: empty.provider().resources(spec, stopped=False)[Kind.ADDRESS]["live.url"]["mode"]
        for name, spec in empty.catalogue.items()
    }
    assert {name for name, mode in modes.items() if mode == "RESPONSE_STREAM"} == {"events"}


def test_an_address_that_streams_is_deployed_as_one(tmp_path: Path) -> None:
    with new_world(tmp_path, ("events",)) as world:
        world.apply(world.wanted())
        assert world.plan(world.wanted()).empty
        config = world.client("lambda").get_function_configuration(
            FunctionName="sluice-staging-events", Qualifier="live"
        )
        assert config["Environment"]["Variables"]["AWS_LWA_INVOKE_MODE"] == "response_stream"


def test_an_alias_led_elsewhere_by_hand_is_led_back(world: World) -> None:
    before = world.live(LANE)
    hand("another version live")(world)
    assert world.live(LANE) == {}
    assert kind_of(world.apply(world.wanted())) == ["Probe", "Shift"]
    assert world.live(LANE) == before


def test_latest_changed_by_hand_is_no_drift_and_never_published(world: World) -> None:
    """Nobody calls it; but what comes next is put together there."""
    client = world.client("lambda")
    client.update_function_configuration(
        FunctionName=FUNCTION,
        MemorySize=3008,
        Environment={"Variables": {"LEFT": "by hand"}},
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 2048},
    )
    assert world.plan(world.wanted()).empty
    world.apply(world.wanted(state(LANE, "b")))
    found = client.get_function_configuration(FunctionName=FUNCTION, Qualifier="live")
    assert found["MemorySize"] == 512
    assert "LEFT" not in found["Environment"]["Variables"]
    assert found["TracingConfig"] == {"Mode": "PassThrough"}
    assert found["EphemeralStorage"] == {"Size": 512}


def test_a_version_that_only_claims_a_fingerprint_is_not_taken_for_it(world: World) -> None:
    client = world.client("lambda")
    resolved = state(LANE, "b").resolved(world.observe().urls)
    claim = f"sluice {resolved.fingerprint}"
    client.update_function_configuration(FunctionName=FUNCTION, Description=claim)
    for _ in range(3):  # until Lambda has taken it in
        client.get_function_configuration(FunctionName=FUNCTION)
    false = client.publish_version(FunctionName=FUNCTION)["Version"]
    provider = world.provider()
    provider.upload(resolved.code, world.package(resolved.code))
    provider.publish(resolved)
    provider.shift(LANE, {str(resolved.fingerprint): 100})
    assert version_of(world, "live") != false


def test_an_update_by_somebody_else_in_between_is_never_published(world: World) -> None:
    """Each time our change was taken in, somebody writes theirs; then we give up, and nothing is released."""
    client = world.client("lambda")

    class Meddler:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def publish_version(self, **parameters: Any) -> Any:
            client.update_function_configuration(FunctionName=FUNCTION, MemorySize=3008)
            return self.real.publish_version(**parameters)

    provider = world.provider()
    functions = provider._versions.functions
    meddled = replace(
        provider._versions, functions=replace(functions, client=cast("Any", Meddler(functions.client)))
    )
    vars(provider)["_versions"] = meddled
    resolved = state(LANE, "b").resolved(world.observe().urls)
    provider.upload(resolved.code, world.package(resolved.code))
    with pytest.raises(WorldMoved, match="somebody else changes it"):
        provider.publish(resolved)
    assert resolved.fingerprint not in {each.fingerprint for each in world.function(LANE).revisions}


@pytest.mark.parametrize("kind", [Kind.IDENTITY, Kind.LOGS, Kind.ADDRESS])
def test_what_is_somebody_elses_is_refused_and_left_alone(empty: World, kind: Kind) -> None:
    trust = json.dumps(empty.wanted().resources[LANE][Kind.IDENTITY]["trust"])
    empty.aws.plain("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument=trust)
    if kind is Kind.IDENTITY:
        empty.client("iam").create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=trust)
    if kind is Kind.LOGS:
        empty.client("logs").create_log_group(logGroupName=LOG_GROUP)
    if kind is Kind.ADDRESS:
        empty.client("lambda").create_function(
            FunctionName=FUNCTION,
            Role="arn:aws:iam::123456789012:role/theirs",
            Runtime="python3.13",
            Handler="a.b",
            Code={"ZipFile": empty.package("theirs").read_bytes()},
            Tags={"sluice:environment": "another"},
        )
    for _ in range(3):
        empty.aws.strict.recorder.clear()
        empty.observe()
    before = empty.observe()
    with pytest.raises(ForeignResource, match=kind):
        empty.apply(empty.wanted())
    wanted = empty.wanted().resources[LANE]
    empty.aws.strict.recorder.clear()
    with pytest.raises(ForeignResource, match=FUNCTION):
        empty.provider().ensure(LANE, kind, wanted[kind])
    empty.provider().remove(LANE)
    assert written(empty) == []
    assert empty.observe().functions == before.functions


def test_a_foreign_function_is_neither_published_to_nor_shifted_nor_pruned(world: World) -> None:
    arn = world.client("lambda").get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"]
    world.client("lambda").untag_resource(Resource=arn, TagKeys=["sluice:function"])
    world.aws.strict.recorder.clear()
    provider, fingerprint = world.provider(), "a" * 12
    resolved = state(LANE).resolved({LANE: "https://a.example", **world.observe().urls})
    for write in (
        lambda: provider.publish(resolved),
        lambda: provider.shift(LANE, {fingerprint: 100}),
        lambda: provider.candidate(LANE, fingerprint),
        lambda: provider.prune(LANE, "2"),
        lambda: provider.ensure(LANE, Kind.CAPACITY, {"reserved_concurrency": 1}),
    ):
        with pytest.raises(ForeignResource):
            write()
    assert written(world) == []


def test_an_alias_moved_by_somebody_else_meanwhile_is_not_moved(world: World) -> None:
    client = world.client("lambda")

    class Slow:
        """Somebody moves the alias after we looked at it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def update_alias(self, **parameters: Any) -> Any:
            client.update_alias(FunctionName=FUNCTION, Name="live", FunctionVersion="1")
            return client.update_alias(**parameters)

    world.apply(world.wanted(state(LANE, "b")))
    provider = world.provider()
    functions = replace(provider._functions, client=cast("Any", Slow()))
    vars(provider)["_traffic"] = replace(provider._traffic, functions=functions)
    old = world.function(LANE).revisions[0].fingerprint
    with pytest.raises(WorldMoved, match="moved by somebody else"):
        provider.shift(LANE, {old: 100})
    assert version_of(world, "live") == "1"


def test_a_revision_that_is_gone_cannot_be_led_to(world: World) -> None:
    with pytest.raises(WorldMoved, match="is gone"):
        world.provider().shift(LANE, {"0" * 12: 100})


def test_a_shift_to_where_it_leads_writes_nothing(world: World) -> None:
    world.provider().shift(LANE, world.live(LANE))
    assert written(world) == []


def test_old_versions_go_and_neither_the_live_one_nor_the_placeholder(world: World) -> None:
    for code in "bcdef":
        world.apply(world.wanted(state(LANE, code), keep=2))
    versions = world.client("lambda").list_versions_by_function(FunctionName=FUNCTION)["Versions"]
    descriptions = [each["Description"] for each in versions if each["Version"] != "$LATEST"]
    assert descriptions[0] == "sluice placeholder"
    assert [each.split()[1][0] for each in descriptions[1:]] == ["e", "f"]
    assert {code[0] for code in world.observe().artefacts} == {"e", "f"}


def test_a_version_that_takes_calls_is_never_removed(world: World) -> None:
    with pytest.raises(Refused, match="takes calls"):
        world.provider().prune(LANE, version_of(world, "live"))
    assert world.live(LANE)


def test_the_candidate_leaves_a_version_that_is_to_go(world: World) -> None:
    with pytest.raises(ProbeFailed):
        world.apply(world.wanted(state(LANE, "b")), prober=Probed(frozenset("b")))
    broken = version_of(world, "candidate")
    world.provider().prune(LANE, broken)
    assert version_of(world, "candidate") == version_of(world, "live")
    assert broken not in {each.id for each in world.function(LANE).revisions}


@pytest.mark.parametrize("version", ["", "$LATEST", "live"])
def test_what_is_no_versions_number_is_not_pruned(world: World, version: str) -> None:
    with pytest.raises(Refused, match="no version"):
        world.provider().prune(LANE, version)
    assert world.function(LANE).url


def test_what_is_gone_can_be_removed_again(world: World) -> None:
    provider = world.provider()
    provider.prune(LANE, "77")
    provider.forget_artefact("no such code")
    provider.remove(LANE)
    provider.remove(LANE)
    provider.prune(LANE, "2")


def test_stopped_is_no_capacity_and_the_others_are_untouched(both: World) -> None:
    plan = both.plan(both.wanted(stopped=[LANE]))
    assert [(step.function, step.kind) for step in plan.steps if isinstance(step, Ensure)] == [
        (LANE, Kind.CAPACITY)
    ]
    both.apply(both.wanted(stopped=[LANE]))
    found = both.client("lambda").get_function_concurrency(FunctionName=FUNCTION)
    assert found["ReservedConcurrentExecutions"] == 0
    both.apply(both.wanted())
    assert both.plan(both.wanted()).empty


def test_destroying_leaves_nothing_of_ours_and_all_of_others(both: World) -> None:
    trust = json.dumps(both.wanted().resources[LANE][Kind.IDENTITY]["trust"])
    both.client("iam").create_role(RoleName="sluice-staging-of-others", AssumeRolePolicyDocument=trust)
    both.client("logs").create_log_group(logGroupName="/aws/lambda/sluice-staging-free-stream-of-others")
    both.client("s3").create_bucket(
        Bucket="of-others", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    provider = both.provider()
    provider.secrets.put("sluice/staging/REDIS_URL", "redis://", request_id="1")
    for name in NAMES:
        provider.remove(name)
    provider.secrets.remove("sluice/staging/REDIS_URL")
    provider.objects.destroy()
    assert both.observe().functions == {}
    assert both.client("lambda").list_functions()["Functions"] == []
    roles = both.client("iam").list_roles()["Roles"]
    assert [each["RoleName"] for each in roles] == ["sluice-staging-of-others"]
    groups = both.client("logs").describe_log_groups()["logGroups"]
    assert [each["logGroupName"] for each in groups] == ["/aws/lambda/sluice-staging-free-stream-of-others"]
    assert [each["Name"] for each in both.client("s3").list_buckets()["Buckets"]] == ["of-others"]
    assert both.client("secretsmanager").list_secrets()["SecretList"] == []


def test_of_several_that_deploy_at_once_exactly_one_proceeds(world: World) -> None:
    outcomes = outcomes_of_four_at_once([world.provider().objects for _ in range(4)])
    assert outcomes == ["held", "held", "held", "proceeds"]


def test_credentials_of_another_account_are_refused(empty: World) -> None:
    aws = environment().aws
    assert aws is not None
    provider = empty.provider(aws=aws.model_copy(update={"account": "999999999999"}))
    with pytest.raises(Refused, match=r"123456789012.*declares 999999999999"):
        provider.check()


def test_names_of_two_environments_never_meet(world: World) -> None:
    other = World(world.aws, world.folder, environment(name="prod"))
    assert other.provider().observe(NAMES).functions == {}
    assert BUCKET in {each["Name"] for each in world.client("s3").list_buckets()["Buckets"]}
