"""What each function may do on its cloud: its own secrets, its own log, its images, and nothing else.

Literal documents hold the generators; `simulate` holds the table of who reads what; the linter is shown every
way in which a document can be wider, and properties look for one that it does not see.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployment import policies
from deployment.catalogue import load_catalogue
from deployment.holdings import HOLDINGS, Blobs
from deployment.policies import Binding, aws_policy, aws_trust, gcp_bindings
from deployment.policy_evaluation import matches, simulate
from deployment.policy_linter import covers, lint, lint_bindings, lint_trust
from shared.state import blobs
from tests.unit.deployment.environment_kit import ACCOUNT, REGION, on_aws, on_gcp

CATALOGUE = load_catalogue()
PROD = on_aws()
STAGING = on_gcp()
SECRETS = sorted({secret for spec in CATALOGUE.values() for secret in spec.secrets})
GET = "secretsmanager:GetSecretValue"
IN_ACCOUNT = {"aws:ResourceAccount": ACCOUNT}
Policy = dict[str, Any]


def arn(variable: str, environment: str = "prod") -> str:
    """Return the ARN of a secret as AWS makes it: with six characters of its own at the end."""
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:sluice/{environment}/{variable}-aB3xY9"


def findings(document: Policy, function: str) -> str:
    return "\n".join(str(finding) for finding in lint(document, CATALOGUE[function], PROD))


# --- the documents


def test_a_vision_lane_reads_its_secrets_and_its_images_and_writes_its_log() -> None:
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:sluice/prod/"
    names = ("GLM_API_KEY", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY", "REDIS_URL")
    assert aws_policy(CATALOGUE["paid_vision"], PROD) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OwnSecrets",
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue"],
                "Resource": [f"{secret}{name}-??????" for name in names],
            },
            {
                "Sid": "OwnLog",
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [
                    f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/sluice-prod-paid-vision:*"
                ],
            },
            {
                "Sid": "Images",
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::sluice-images/prod/images/*"],
                "Condition": {"StringEquals": {"aws:ResourceAccount": ACCOUNT}},
            },
        ],
    }


def test_actions_stores_lists_and_deletes_images_and_reads_none() -> None:
    policy = aws_policy(CATALOGUE["actions"], PROD)
    image, bucket = "arn:aws:s3:::sluice-images/prod/images/user/task", "arn:aws:s3:::sluice-images"
    assert simulate(policy, "s3:PutObject", image, IN_ACCOUNT)
    assert simulate(policy, "s3:DeleteObject", image, IN_ACCOUNT)
    assert not simulate(policy, "s3:GetObject", image, IN_ACCOUNT)
    for prefix, listed in (
        ("prod/images/user/", True),
        ("prod/images/", True),
        ("prod/", False),
        ("", False),
    ):
        assert simulate(policy, "s3:ListBucket", bucket, IN_ACCOUNT | {"s3:prefix": prefix}) is listed
    assert not simulate(policy, "s3:ListBucket", bucket, IN_ACCOUNT)


def test_a_lane_without_images_and_events_have_no_bucket() -> None:
    for name, spec in CATALOGUE.items():
        text = json.dumps(aws_policy(spec, PROD))
        assert ("s3:" in text) is (HOLDINGS[name].blobs is not Blobs.NONE), name


def test_no_policy_reaches_outside_the_folder_of_images() -> None:
    for spec in CATALOGUE.values():
        policy = aws_policy(spec, PROD)
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            for key in ("prod/imagesx/a", "prod/other", "staging/images/a"):
                assert not simulate(policy, action, f"arn:aws:s3:::sluice-images/{key}", IN_ACCOUNT)
            own = "arn:aws:s3:::sluice-images/prod/images/a"
            assert not simulate(policy, action, own, {"aws:ResourceAccount": "999999999999"})


def test_the_folder_of_images_is_the_one_that_the_functions_use() -> None:
    assert policies.IMAGES == blobs.IMAGES
    bare = on_aws(variables=PROD.variables | {"BLOB_URL": "s3://sluice-images"})
    assert policies.images_folder(bare) == policies.Folder("sluice-images", "images/")
    on_disk = on_aws(variables=PROD.variables | {"BLOB_URL": "file:///tmp/images"})
    assert policies.images_folder(on_disk) is None


def test_only_lambda_of_the_own_account_takes_a_role() -> None:
    assert aws_trust(PROD) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
            }
        ],
    }
    assert lint_trust(aws_trust(PROD), PROD) == []


def test_a_service_account_is_bound_on_its_own_secrets_and_its_bucket_and_never_on_the_project() -> None:
    member = "serviceAccount:sluice-staging-paid-vision@sluice-staging.iam.gserviceaccount.com"
    accessor, secrets = (
        "roles/secretmanager.secretAccessor",
        "projects/sluice-staging/secrets/sluice-staging-",
    )
    names = ("glm-api-key", "qstash-current-signing-key", "qstash-next-signing-key", "redis-url")
    assert gcp_bindings(CATALOGUE["paid_vision"], STAGING) == [
        Binding(
            "projects/_/buckets/sluice-images",
            "roles/storage.objectViewer",
            member,
            'resource.name.startsWith("projects/_/buckets/sluice-images/objects/staging/images/")',
        ),
        *(Binding(f"{secrets}{name}", accessor, member) for name in names),
    ]


def test_actions_may_also_list_its_folder_on_google() -> None:
    (bucket,) = [b for b in gcp_bindings(CATALOGUE["actions"], STAGING) if "buckets" in b.resource]
    assert bucket.role == "roles/storage.objectUser"
    assert bucket.condition.endswith(
        '|| api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("staging/images/")'
    )


# --- who reads what


@pytest.mark.parametrize("function", CATALOGUE)
@pytest.mark.parametrize("redis", ["tcp", "rest"])
def test_a_function_reads_the_secrets_that_it_holds_and_no_other_of_any_function(
    function: str, redis: str
) -> None:
    environment = on_aws(redis=redis)
    policy = aws_policy(CATALOGUE[function], environment)
    readable = {secret for secret in SECRETS if simulate(policy, GET, arn(secret))}
    assert readable == set(environment.secrets_of(CATALOGUE[function]))
    assert readable <= HOLDINGS[function].all_secrets


@pytest.mark.parametrize("function", CATALOGUE)
def test_a_function_reads_no_secret_of_another_environment_or_of_a_longer_name(function: str) -> None:
    policy = aws_policy(CATALOGUE[function], PROD)
    for secret in SECRETS:
        assert not simulate(policy, GET, arn(secret, "staging"))
        assert not simulate(policy, GET, arn(secret, "prod2"))
        assert not simulate(policy, GET, arn(f"{secret}_OLD"))
        assert not simulate(policy, GET, arn(secret).replace(ACCOUNT, "999999999999"))
        assert not simulate(policy, "secretsmanager:PutSecretValue", arn(secret))


@pytest.mark.parametrize("function", CATALOGUE)
def test_a_function_writes_its_own_log_and_no_other(function: str) -> None:
    policy = aws_policy(CATALOGUE[function], PROD)
    for other in CATALOGUE:
        name = f"/aws/lambda/sluice-prod-{other.replace('_', '-')}"
        stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:log-stream:2026/11/27/[1]abc"
        assert simulate(policy, "logs:PutLogEvents", stream) is (other == function)


# --- the judge's evaluator


ALLOW: Policy = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([ALLOW], True),
        ([ALLOW | {"Action": "S3:getOBJECT"}], True),
        ([ALLOW | {"Action": "s3:Put*"}], False),
        ([ALLOW | {"Resource": "arn:aws:s3:::B/*"}], False),
        ([ALLOW | {"Resource": "arn:aws:s3:::b/?"}], True),
        ([ALLOW | {"Resource": "arn:aws:s3:::b/??"}], False),
        ([ALLOW | {"Resource": "arn:aws:s3:::b/[k]"}], False),
        ([ALLOW, ALLOW | {"Effect": "Deny"}], False),
        ([ALLOW, ALLOW | {"Effect": "Deny", "Resource": "arn:aws:s3:::b/other"}], True),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}], False),
        ([ALLOW | {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "a"}}}], True),
        ([ALLOW | {"Condition": {"StringEquals": {"AWS:PRINCIPALTAG/TEAM": ["b", "a"]}}}], True),
        ([ALLOW | {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "*"}}}], False),
        ([ALLOW | {"Condition": {"StringLike": {"aws:PrincipalTag/team": "*"}}}], True),
        ([ALLOW | {"Condition": {"StringNotEquals": {"aws:PrincipalTag/team": "a"}}}], False),
        ([ALLOW | {"Condition": {"StringNotEquals": {"aws:Absent": "a"}}}], True),
        ([ALLOW | {"Condition": {"StringEquals": {"aws:Absent": "a"}}}], False),
        ([ALLOW | {"Condition": {"StringEqualsIfExists": {"aws:Absent": "a"}}}], True),
        ([ALLOW | {"Condition": {"Bool": {"aws:SecureTransport": "True"}}}], True),
        ([ALLOW | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}], False),
        ([ALLOW | {"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}], False),
        ([ALLOW, ALLOW | {"Effect": "Deny", "Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}], False),
    ],
)  # fmt: skip
def test_a_document_is_evaluated_as_iam_evaluates_it(statements: list[Policy], allowed: bool) -> None:
    context = {"aws:PrincipalTag/team": "a", "aws:SecureTransport": "true"}
    document = {"Version": "2012-10-17", "Statement": statements}
    assert simulate(document, "s3:GetObject", "arn:aws:s3:::b/k", context) is allowed


def test_a_single_statement_may_stand_without_a_list() -> None:
    assert simulate({"Statement": ALLOW}, "s3:GetObject", "arn:aws:s3:::b/k")


# --- the judge


@pytest.mark.parametrize("function", CATALOGUE)
@pytest.mark.parametrize("redis", ["tcp", "rest"])
def test_no_policy_of_ours_is_wider_than_needed_or_lacks_anything(function: str, redis: str) -> None:
    spec = CATALOGUE[function]
    assert lint(aws_policy(spec, on_aws(redis=redis)), spec, on_aws(redis=redis)) == []
    assert lint_bindings(gcp_bindings(spec, STAGING), spec, STAGING) == []


def statement(**changes: Any) -> Policy:
    own = policies.aws_secret(PROD, "REDIS_URL")
    return {"Sid": "New", "Effect": "Allow", "Action": [GET], "Resource": [own]} | changes


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (statement(), "is granted twice"),
        (statement(Action="*"), "* is a pattern of actions"),
        (statement(Action=["secretsmanager:*"]), "secretsmanager:* is a pattern of actions"),
        (statement(Action=["secretsmanager:PutSecretValue"]), "secretsmanager:PutSecretValue is not needed"),
        (statement(Action=["dynamodb:GetItem"], Resource="*"), "dynamodb:GetItem is not needed"),
        (statement(Action=["sts:AssumeRole"], Resource="*"), "sts:AssumeRole is not needed: it would let the function take or change a role"),
        (statement(Resource="*"), "is wider than needed"),
        (statement(Resource=policies.aws_secret(PROD, "QSTASH_TOKEN")), "is not needed: it reaches QSTASH_TOKEN"),
        (statement(Resource=policies.aws_secret(PROD, "GLM_API_KEY").replace("GLM", "*")), "it reaches DEEPSEEK_API_KEY, GLM_API_KEY"),
        (statement(Resource=arn("REDIS_URL")), "is narrower than needed"),
        ({"Sid": "New", "Effect": "Allow", "NotAction": ["s3:*"], "Resource": ["*"]}, "has NotAction; only Action and Resource"),
        ({"Sid": "New", "Effect": "Allow", "Action": [GET], "NotResource": ["a"]}, "has NotResource; only Action and Resource"),
        (statement(Principal="*"), "has Principal; only Action and Resource"),
        (statement(Effect="Deny"), "does not allow anything"),
        (statement(Resource=[]), "has no Resource"),
    ],
)  # fmt: skip
def test_what_a_wider_policy_says_is_found(added: Policy, said: str) -> None:
    policy = aws_policy(CATALOGUE["paid_stream"], PROD)
    policy["Statement"].append(added)
    lines = findings(policy, "paid_stream").splitlines()
    assert any(line.startswith("New: ") and said in line for line in lines), lines


def test_a_missing_condition_a_missing_right_and_another_version_are_found() -> None:
    policy = aws_policy(CATALOGUE["paid_vision"], PROD)
    del policy["Statement"][2]["Condition"]
    assert "must be under the condition" in findings(policy, "paid_vision")
    del policy["Statement"][1]
    assert "policy: lacks logs:PutLogEvents" in findings(policy, "paid_vision")
    assert "Version must be 2012-10-17" in findings(policy | {"Version": "2008-10-17"}, "paid_vision")


def test_a_function_that_the_table_does_not_have_may_hold_nothing() -> None:
    lamp = dataclasses.replace(CATALOGUE["paid_stream"], name="lamp")
    assert any(
        "it reaches DEEPSEEK_API_KEY" in str(each) for each in lint(aws_policy(lamp, PROD), lamp, PROD)
    )


def test_a_secret_that_the_catalogue_hands_over_against_the_table_is_found() -> None:
    spec = CATALOGUE["free_stream"]
    wider = dataclasses.replace(spec, secrets=(*spec.secrets, "DEEPSEEK_API_KEY"))
    assert "it reaches DEEPSEEK_API_KEY" in str(lint(aws_policy(wider, PROD), wider, PROD)[0])
    (finding,) = lint_bindings(gcp_bindings(wider, STAGING), wider, STAGING)
    assert str(finding).startswith("projects/sluice-staging/secrets/sluice-staging-deepseek-api-key: ")


ACTIONS = st.sampled_from([GET, "logs:PutLogEvents", "s3:GetObject", "s3:PutObject", "s3:ListBucket"]) | (
    st.from_regex(r"(secretsmanager|logs|s3|iam|sts|kms|\*):[A-Za-z*?]{1,12}", fullmatch=True)
)


@given(function=st.sampled_from(sorted(CATALOGUE)), action=ACTIONS, number=st.integers(0, 3))
def test_any_action_added_to_any_statement_is_found(function: str, action: str, number: int) -> None:
    policy = aws_policy(CATALOGUE[function], PROD)
    target = policy["Statement"][number % len(policy["Statement"])]
    target["Action"] = [*target["Action"], action]
    assert findings(policy, function)


@given(
    function=st.sampled_from(sorted(CATALOGUE)),
    number=st.integers(0, 30),
    cut=st.integers(0, 200),
    wild=st.sampled_from(["*", "?"]),
    keep_rest=st.booleans(),
)
def test_any_resource_that_is_made_wider_is_found(
    function: str, number: int, cut: int, wild: str, keep_rest: bool
) -> None:
    policy = aws_policy(CATALOGUE[function], PROD)
    places = [(each, i) for each in policy["Statement"] for i in range(len(each["Resource"]))]
    target, index = places[number % len(places)]
    before = target["Resource"][index]
    at = cut % len(before)
    after = before[:at] + wild + (before[at + 1 :] if keep_rest else "")
    assume(after != before)
    target["Resource"][index] = after
    assert findings(policy, function)


def test_a_pattern_that_covers_another_matches_all_that_it_matches() -> None:
    texts = ["".join(each) for length in range(6) for each in product("ab", repeat=length)]
    patterns = ["".join(each) for length in range(4) for each in product("ab*?", repeat=length)]
    matched = {pattern: {text for text in texts if matches(pattern, text)} for pattern in patterns}
    for wide, narrow in product(patterns, repeat=2):
        if covers(wide, narrow):
            assert matched[wide] >= matched[narrow], (wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [("*", "a*", True), ("a*", "a?c", True), ("a?", "ab", True), ("a?", "a*", False), ("a*", "*", False), ("ab", "a?", False), ("*b", "ab*", False)],
)  # fmt: skip
def test_one_pattern_covers_another(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Principal": {"AWS": "*"}}, "lets somebody else than Lambda take the role"),
        ({"Principal": "*"}, "lets somebody else than Lambda take the role"),
        ({"Principal": {"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}}, "lets somebody else"),
        ({"Action": "sts:*"}, "allows another action"),
        ({"Condition": {}}, "must be under the condition"),
        ({"Condition": {"StringLike": {"aws:SourceAccount": "*"}}}, "must be under the condition"),
        ({"Effect": "Deny"}, "does not allow anything"),
        ({"NotPrincipal": {"AWS": "a"}}, "has NotPrincipal"),
    ],
)
def test_a_wider_trust_is_found(change: Policy, said: str) -> None:
    document = copy.deepcopy(aws_trust(PROD))
    document["Statement"][0] |= change
    assert any(said in str(finding) for finding in lint_trust(document, PROD))
    assert lint_trust({"Version": "2012-10-17", "Statement": []}, PROD)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resource": "projects/sluice-staging"}, "reaches further than one secret or one bucket"),
        ({"role": "roles/secretmanager.admin"}, "roles/secretmanager.admin is not needed here"),
        ({"member": "allUsers"}, "is given to allUsers, not to serviceAccount:"),
        ({"resource": "projects/sluice-staging/secrets/sluice-staging-qstash-token"}, "is not needed here"),
        ({"condition": "true"}, "must be under the condition that there is none"),
    ],
)
def test_a_wider_binding_is_found(change: dict[str, str], said: str) -> None:
    spec = CATALOGUE["paid_stream"]
    bindings = gcp_bindings(spec, STAGING)
    added = dataclasses.replace(bindings[0], **change)
    (finding,) = lint_bindings([*bindings, added], spec, STAGING)
    assert said in str(finding)
    assert "is bound twice" in str(lint_bindings([*bindings, bindings[0]], spec, STAGING)[0])
    assert "lacks" in str(lint_bindings(bindings[1:], spec, STAGING)[0])


def test_a_bucket_without_its_condition_is_found() -> None:
    spec = CATALOGUE["paid_vision"]
    bindings = [dataclasses.replace(each, condition="") for each in gcp_bindings(spec, STAGING)]
    found = [str(each) for each in lint_bindings(bindings, spec, STAGING)]
    assert any("must be under the condition resource.name.startsWith" in each for each in found)
