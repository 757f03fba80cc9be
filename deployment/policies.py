"""What each function may do on its cloud: the least that it can do its work with. Pure: calls nothing.

    AWS     a role of its own: read its own secrets, write its own log, and for those that handle images the
            objects below their folder; Lambda of this account is the only one that can take the role
    Google  a service account of its own, bound on each of its own secrets and on the bucket of images, never
            on the project

What a deployment needs is the release engineer's, and no function has it: none can read its own package,
change its own configuration or see another function's secret. `deployment.policy_linter` checks every
document that is about to be written, by the table of who holds what and not by this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deployment.catalogue import FunctionSpec
from deployment.environments import AwsPlace, Environment, GcpPlace
from deployment.names import log_group, secret_name, service_account

Document = dict[str, Any]
"""A policy document of AWS."""
IMAGES = "images"
"""The folder below BLOB_URL in which all images are (`shared.state.blobs.IMAGES`, held to it by a test)."""
SECRET_SUFFIX = "-??????"  # noqa: S105  # what Secrets Manager appends to a secret's name in its ARN: six characters
READS_SECRETS = "roles/secretmanager.secretAccessor"
READS_OBJECTS = "roles/storage.objectViewer"
WRITES_OBJECTS = "roles/storage.objectUser"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where images are: a bucket, and the folder in it, with a slash at its end."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """One role on one resource of Google Cloud, for one member."""

    resource: str
    role: str
    member: str
    condition: str = ""
    """An expression that must hold as well; empty: none."""


def aws_policy(spec: FunctionSpec, environment: Environment) -> Document:
    """Return the policy of the role that `spec` runs as."""
    statements = [_own_secrets(spec, environment), _own_log(spec, environment)]
    folder = images_folder(environment)
    if folder and "BLOB_URL" in spec.variables:
        statements += _writing(folder, environment) if spec.lane is None else _reading(folder, environment)
    return {"Version": "2012-10-17", "Statement": statements}


def aws_trust(environment: Environment) -> Document:
    """Return who may take a function's role: Lambda, and only on behalf of the environment's own account.

    Not narrowed to the function's ARN: Lambda takes the role also while the function does not exist yet.
    """
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": _aws(environment).account}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def gcp_bindings(spec: FunctionSpec, environment: Environment) -> list[Binding]:
    """Return the bindings of the service account that `spec` runs as, in a stable order."""
    member = f"serviceAccount:{service_account(environment, spec.name)}"
    bindings = [
        Binding(gcp_secret(environment, variable), READS_SECRETS, member)
        for variable in environment.secrets_of(spec)
    ]
    folder = images_folder(environment)
    if folder and "BLOB_URL" in spec.variables:
        role = WRITES_OBJECTS if spec.lane is None else READS_OBJECTS
        condition = gcp_condition(folder, lists=spec.lane is None)
        bindings.append(Binding(f"projects/_/buckets/{folder.bucket}", role, member, condition))
    return sorted(bindings)


def images_folder(environment: Environment) -> Folder | None:
    """Return where images are, None where that is no bucket."""
    parts = urlsplit(environment.variables.get("BLOB_URL", ""))
    if parts.scheme not in {"s3", "gs"}:
        return None
    return Folder(parts.netloc, "/".join([*filter(None, parts.path.split("/")), IMAGES, ""]))


def aws_secret(environment: Environment, variable: str) -> str:
    """Return the ARN pattern that matches the one secret of `variable`, and no other.

    The suffix is spelt out character by character: with a star, `…/KEY` would match `…/KEY_OF_ANOTHER` too.
    """
    place = _aws(environment)
    name = secret_name(environment, variable) + SECRET_SUFFIX
    return f"arn:aws:secretsmanager:{place.region}:{place.account}:secret:{name}"


def aws_log(environment: Environment, function: str) -> str:
    """Return the ARN pattern of a function's log streams."""
    place = _aws(environment)
    return f"arn:aws:logs:{place.region}:{place.account}:log-group:{log_group(environment, function)}:*"


def gcp_secret(environment: Environment, variable: str) -> str:
    """Return the resource name of a secret on Google Cloud."""
    return f"projects/{_gcp(environment).project}/secrets/{secret_name(environment, variable)}"


def gcp_condition(folder: Folder, *, lists: bool) -> str:
    """Return the condition that keeps a binding on a bucket to the folder of images."""
    objects = f'resource.name.startsWith("projects/_/buckets/{folder.bucket}/objects/{folder.prefix}")'
    if not lists:
        return objects
    listed = 'api.getAttribute("storage.googleapis.com/objectListPrefix", "")'
    return f'{objects} || {listed}.startsWith("{folder.prefix}")'


def in_own_account(environment: Environment) -> Mapping[str, Mapping[str, str]]:
    """Return the condition that a bucket is still ours: the name of a deleted one is anybody's."""
    return {"StringEquals": {"aws:ResourceAccount": _aws(environment).account}}


def _own_secrets(spec: FunctionSpec, environment: Environment) -> Document:
    secrets = sorted(aws_secret(environment, variable) for variable in environment.secrets_of(spec))
    return _allow("OwnSecrets", ["secretsmanager:GetSecretValue"], secrets)


def _own_log(spec: FunctionSpec, environment: Environment) -> Document:
    return _allow("OwnLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [aws_log(environment, spec.name)])


def _reading(folder: Folder, environment: Environment) -> list[Document]:
    objects = f"arn:aws:s3:::{folder.bucket}/{folder.prefix}*"
    return [_allow("Images", ["s3:GetObject"], [objects]) | {"Condition": in_own_account(environment)}]


def _writing(folder: Folder, environment: Environment) -> list[Document]:
    objects = f"arn:aws:s3:::{folder.bucket}/{folder.prefix}*"
    own = in_own_account(environment)
    listing = {**own, "StringLike": {"s3:prefix": f"{folder.prefix}*"}}
    return [
        _allow("Images", ["s3:DeleteObject", "s3:PutObject"], [objects]) | {"Condition": own},
        _allow("ImagesList", ["s3:ListBucket"], [f"arn:aws:s3:::{folder.bucket}"]) | {"Condition": listing},
    ]


def _allow(sid: str, actions: list[str], resources: list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _aws(environment: Environment) -> AwsPlace:
    assert isinstance(environment.place, AwsPlace)
    return environment.place


def _gcp(environment: Environment) -> GcpPlace:
    assert isinstance(environment.place, GcpPlace)
    return environment.place
