"""Secrets Manager as a function sees it: the caller is the role that signed, and reads what it may.

moto checks neither signatures nor narrow policies. This does both, so that on the emulated AWS too a function
can read its own secrets and no other's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from deployment.policy_evaluation import simulate, statements_of
from devstack.clouds.aws.sessions import server_session

_TARGET = "secretsmanager.GetSecretValue"
_ACTION = "secretsmanager:GetSecretValue"
_SERVICE = "secretsmanager"
_SKEW = dt.timedelta(minutes=5)
_MAX_BODY_BYTES = 65_536
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z]+)/"
    r"aws4_request, ?SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a process proves its role with."""

    role_arn: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)


class RoleCredentials:
    """The credentials that were given out, by access key."""

    def __init__(self) -> None:
        self._issued: dict[str, Keys] = {}
        self._lock = threading.Lock()

    def issue(self, role_arn: str, region: str) -> Keys:
        """Give a process credentials of a role."""
        access_key = "ASIA" + secrets.token_hex(8).upper()
        keys = Keys(role_arn, region, access_key, secrets.token_urlsafe(30), secrets.token_urlsafe(60))
        with self._lock:
            self._issued[access_key] = keys
        return keys

    def find(self, access_key: str) -> Keys | None:
        with self._lock:
            return self._issued.get(access_key)


class Denied(Exception):
    """A call is refused: status, AWS's code, and a text without values."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Vault:
    """An ASGI application: `GetSecretValue`, and nothing else."""

    def __init__(self, endpoint: str, credentials: RoleCredentials) -> None:
        self._endpoint = endpoint
        self._credentials = credentials

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more and len(body) <= _MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status, answer = await asyncio.to_thread(self._answer, scope["method"], headers, body)
        content = json.dumps(answer).encode()
        kind = [(b"content-type", b"application/x-amz-json-1.1"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, method: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            keys = authenticate(self._credentials, method, headers, body)
            return 200, self._read(keys, headers.get("x-amz-target", ""), json.loads(body))
        except Denied as error:
            return error.status, {"__type": error.code, "Message": str(error)}
        except ClientError as error:
            found = error.response["Error"]
            return 400, {"__type": found["Code"], "Message": found["Message"]}

    def _read(self, keys: Keys, target: str, asked: Mapping[str, str]) -> dict[str, Any]:
        if target != _TARGET:
            raise Denied(400, "AccessDeniedException", "Only GetSecretValue is allowed to a function.")
        account = keys.role_arn.split(":")[4]
        session = server_session(self._endpoint, keys.region, account)
        client = session.client("secretsmanager")
        arn = _arn_of(client, asked["SecretId"], keys.region, account)
        if not simulate(_policy_of(session.client("iam"), keys.role_arn), _ACTION, arn):
            name = keys.role_arn.rsplit("/", 1)[-1]
            message = (
                f"User: arn:aws:sts::{account}:assumed-role/{name}/function is not authorized to perform: "
                f"{_ACTION} on resource: {asked['SecretId']} because no policy of its role allows it"
            )
            raise Denied(400, "AccessDeniedException", message)
        which = {name: asked[name] for name in ("VersionId", "VersionStage") if asked.get(name)}
        # moto answers an old value to whoever names neither.
        found: Any = client.get_secret_value(SecretId=arn, **(which or {"VersionStage": "AWSCURRENT"}))
        created_at = found.pop("CreatedDate").timestamp()
        del found["ResponseMetadata"]
        return {**found, "CreatedDate": created_at}


def authenticate(issued: RoleCredentials, method: str, headers: Mapping[str, str], body: bytes) -> Keys:
    """Return whose request it is.

    Raises:
        Denied: it is not signed by credentials that were given out, or not now.
    """
    proof = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if proof is None:
        raise Denied(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    keys = issued.find(proof["key"])
    if keys is None or not hmac.compare_digest(headers.get("x-amz-security-token", ""), keys.token):
        raise Denied(
            403, "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    if (proof["region"], proof["service"]) != (keys.region, _SERVICE):
        raise Denied(
            403, "InvalidSignatureException", "Credential should be scoped to a valid region and service."
        )
    stamp = headers.get("x-amz-date", "")
    if not stamp.startswith(proof["date"]) or not _is_now(stamp):
        raise Denied(403, "InvalidSignatureException", "Signature expired or not yet current.")
    names = proof["names"].split(";")
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(names):
        raise Denied(403, "InvalidSignatureException", "A header that must be signed is not.")
    signed = {name: headers.get(name, "") for name in names}
    if not hmac.compare_digest(_signature(keys, method, signed, body, stamp), proof["signature"]):
        message = "The request signature we calculated does not match the signature you provided."
        raise Denied(403, "InvalidSignatureException", message)
    return keys


def _signature(keys: Keys, method: str, signed: Mapping[str, str], body: bytes, stamp: str) -> str:
    request: Any = AWSRequest(method, f"http://{signed['host']}/", headers=dict(signed), data=body)
    request.context["timestamp"] = stamp
    signer: Any = SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), _SERVICE, keys.region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _is_now(stamp: str) -> bool:
    try:
        at = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return False
    return abs(dt.datetime.now(dt.UTC) - at) <= _SKEW


def _arn_of(client: Any, secret_id: str, region: str, account: str) -> str:
    """Return a secret's ARN, or what it would be: whether it is there learns only who may read it."""
    try:
        return str(client.describe_secret(SecretId=secret_id)["ARN"])
    except ClientError:
        if secret_id.startswith("arn:"):
            return secret_id
        return f"arn:aws:secretsmanager:{region}:{account}:secret:{secret_id}-000000"


def _policy_of(iam: Any, role_arn: str) -> dict[str, Any]:
    """Return all that a role's inline policies say; attached ones, which we never use, say nothing."""
    role = role_arn.rsplit("/", 1)[-1]
    try:
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    except ClientError:
        return {"Statement": []}
    documents = (iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names)
    return {"Statement": [statement for document in documents for statement in statements_of(document)]}
