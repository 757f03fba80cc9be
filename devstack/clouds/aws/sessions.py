"""boto3 sessions for moto, without rules: in this process or at a server, for any of its accounts."""

from __future__ import annotations

import functools
from typing import Any

import boto3
import botocore.session
from botocore.loaders import Loader, create_loader

REGION = "eu-central-1"
MOTO_ACCOUNT = "123456789012"
"""Where credentials lead that moto does not know."""
_KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


class ServerSession(boto3.Session):
    """A session whose clients all speak with one endpoint."""

    def __init__(self, endpoint: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._endpoint = endpoint

    def client(self, service_name: Any, *args: Any, **arguments: Any) -> Any:
        return super().client(service_name, *args, **{"endpoint_url": self._endpoint, **arguments})


def in_process_session(region: str) -> boto3.Session:
    """Return a session with credentials that open nothing outside."""
    return boto3.Session(region_name=region, botocore_session=_core(), **_KEYS)


def server_session(endpoint: str, region: str, account: str = MOTO_ACCOUNT) -> boto3.Session:
    """Return a session that speaks with a moto server, as somebody of `account`."""
    keys = dict(_KEYS)
    if account != MOTO_ACCOUNT:
        sts = ServerSession(endpoint, region_name=region, botocore_session=_core(), **_KEYS).client("sts")
        role = f"arn:aws:iam::{account}:role/deployer"
        given = sts.assume_role(RoleArn=role, RoleSessionName="deployer")["Credentials"]
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
    return ServerSession(endpoint, region_name=region, botocore_session=_core(), **keys)


def _core() -> botocore.session.Session:
    """Return botocore's half of a session; the models of the APIs are read once for all of them."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return core


@functools.cache
def _loader() -> Loader:
    return create_loader()
