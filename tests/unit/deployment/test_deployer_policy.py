"""infra/deployer/aws.json lets whoever deploys do what the commands do in one environment, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployment.catalogue import ROOT
from deployment.planner import Canary
from deployment.policy_evaluation import as_list, simulate, statements_of
from deployment.states import SecretPin
from devstack.clouds.recorder import Recorded
from tests.unit.deployment.aws_kit import ACCOUNT, LAYER, REGION, World, new_world, state
from tests.unit.deployment.cloud_kit import BUCKET

LANE = "free_stream"
FUNCTION = "sluice-staging-free-stream"
SECRET = "sluice/staging/GLM_API_KEY"  # its name
AS_IAM_SAYS = {  # calls that IAM names in another way, or asks for more than themselves
    "lambda:CreateFunction": ["lambda:CreateFunction", "lambda:TagResource"],
    "lambda:GetFunction": ["lambda:GetFunction", "lambda:ListTags"],
    "iam:CreateRole": ["iam:CreateRole", "iam:TagRole"],
    "logs:CreateLogGroup": ["logs:CreateLogGroup", "logs:TagResource"],
    "s3:DeleteObjects": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    "s3:GetPublicAccessBlock": ["s3:GetBucketPublicAccessBlock"],
    "s3:HeadBucket": ["s3:ListBucket"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListObjectVersions": ["s3:ListBucketVersions"],
    "s3:ListObjectsV2": ["s3:ListBucket"],
    "s3:PutPublicAccessBlock": ["s3:PutBucketPublicAccessBlock"],
    "secretsmanager:CreateSecret": ["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
    "sts:GetCallerIdentity": [],  # allowed to everybody
}
NEEDED_BESIDE = {
    "iam:PassRole": "asked for when a function gets its role",
    "lambda:GetLayerVersion": "asked for when a function gets its layer",
    "lambda:DeleteFunctionConcurrency": "for a function that is to reserve nothing",
}
"""What no call of this life is named after, and why it is needed."""
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}],
}


def policy(environment: str = "staging") -> dict[str, Any]:
    """Return the document, filled in as the page says."""
    text = (ROOT / "infra/deployer/aws.json").read_text(encoding="utf-8")
    given = {"ACCOUNT": ACCOUNT, "REGION": REGION, "ENVIRONMENT": environment, "BUCKET": BUCKET}
    for name, value in given.items():
        text = text.replace(f"<{name}>", value)
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> set[Recorded]:
    """Every call of a whole life: released in parts, stopped, changed by hand and mended, removed."""
    with new_world(tmp_path_factory.mktemp("packages"), (LANE,)) as world:
        return {*released(world), *mended(world), *removed(world)}


def released(world: World) -> tuple[Recorded, ...]:
    provider = world.provider()
    provider.check()
    versions = [provider.secrets.put(SECRET, f"value {n}", request_id=str(n) * 32) for n in range(1, 4)]
    provider.secrets.describe([SECRET])
    provider.secrets.read(SecretPin(SECRET, versions[-1]))
    for code in "abcd":
        world.apply(world.wanted(state(LANE, code), keep=2), canary=Canary((10, 100), 0))
    world.apply(world.wanted(state(LANE, "d"), keep=2, stopped=[LANE]))
    return recorded(world)


def mended(world: World) -> tuple[Recorded, ...]:
    """Let somebody change by hand what a function consists of, and deploy again."""
    roles, functions, logs = (world.client(service) for service in ("iam", "lambda", "logs"))
    roles.attach_role_policy(RoleName=FUNCTION, PolicyArn=foreign_policy(roles))
    roles.put_role_policy(RoleName=FUNCTION, PolicyName="other", PolicyDocument=json.dumps(policy()))
    roles.update_assume_role_policy(RoleName=FUNCTION, PolicyDocument=json.dumps(ANYBODY))
    functions.update_function_url_config(FunctionName=FUNCTION, Qualifier="live", AuthType="AWS_IAM")
    functions.remove_permission(FunctionName=FUNCTION, Qualifier="live", StatementId="url")
    functions.add_permission(
        FunctionName=FUNCTION,
        Qualifier="live",
        StatementId="other",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
    )
    logs.put_retention_policy(logGroupName=f"/aws/lambda/{FUNCTION}", retentionInDays=1)
    world.aws.strict.recorder.clear()
    world.apply(world.wanted(state(LANE, "d"), keep=2))
    return recorded(world)


def removed(world: World) -> tuple[Recorded, ...]:
    protected = world.provider(protected=True).secrets
    protected.remove(SECRET)
    protected.put(SECRET, "set again", request_id="9" * 32)
    provider = world.provider()
    provider.remove(LANE)
    provider.secrets.remove(SECRET)
    provider.objects.destroy()
    return recorded(world)


def recorded(world: World) -> tuple[Recorded, ...]:
    calls = world.aws.strict.recorder.calls
    world.aws.strict.recorder.clear()
    return calls


def foreign_policy(roles: Any) -> str:
    made = roles.create_policy(PolicyName="foreign", PolicyDocument=json.dumps(policy()))
    return str(made["Policy"]["Arn"])


def actions_of(call: Recorded) -> list[str]:
    name = f"{call.service}:{call.operation}"
    return AS_IAM_SAYS.get(name, [name])


def resource_of(call: Recorded, action: str) -> str:
    """Return what IAM asks about when a call is made."""
    match call.service:
        case "lambda":
            return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{call.subject}"
        case "iam":
            return f"arn:aws:iam::{ACCOUNT}:role/{call.subject}"
        case "logs":
            name = call.subject.removeprefix(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:")
            return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"
        case "secretsmanager":
            return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{call.subject}-AbCdEf"
        case "s3":
            whole = "Object" in action and "/" not in call.subject
            return f"arn:aws:s3:::{call.subject}{'/releases/000001.json' if whole else ''}"
    raise AssertionError(call)


def test_every_call_of_a_whole_life_is_allowed(calls: set[Recorded]) -> None:
    document = policy()
    denied = {
        f"{action} {resource_of(call, action)}"
        for call in calls
        for action in actions_of(call)
        if not simulate(document, action, resource_of(call, action))
    }
    assert denied == set()


def test_no_action_is_allowed_that_no_call_needs(calls: set[Recorded]) -> None:
    allowed = {action for each in statements_of(policy()) for action in as_list(each["Action"])}
    called = {action for call in calls for action in actions_of(call)}
    assert allowed - called - NEEDED_BESIDE.keys() == set()


def test_a_role_is_handed_to_lambda_alone_and_the_layer_is_awss(calls: set[Recorded]) -> None:
    assert calls
    role = f"arn:aws:iam::{ACCOUNT}:role/{FUNCTION}"
    passed = {"iam:PassedToService": "lambda.amazonaws.com"}
    assert simulate(policy(), "iam:PassRole", role, passed)
    assert not simulate(policy(), "iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})
    assert simulate(policy(), "lambda:GetLayerVersion", LAYER)


def test_another_environment_is_out_of_reach(calls: set[Recorded]) -> None:
    """But for the list of log groups, which names them and no more."""
    document = policy("prod")
    let_in = {
        action
        for call in calls
        for action in actions_of(call)
        if call.service != "s3" and simulate(document, action, resource_of(call, action))
    }
    assert let_in == {"logs:DescribeLogGroups"}
