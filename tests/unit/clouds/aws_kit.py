"""What the tests of the emulated AWS share: packages, roles and functions, and how a refusal is looked at."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from devstack.clouds.aws.in_process import InProcess

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
NAME = "paid-stream"


def package(text: str = "one") -> bytes:
    """Return a zip; the same text is the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("main.py"), text)
    return buffer.getvalue()


def make_role(iam: Any, name: str = "role", trust: dict[str, Any] | None = None) -> str:
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust or TRUST))
    return str(made["Role"]["Arn"])


def old_role(aws: InProcess) -> str:
    """Make a role that has long been there."""
    return make_role(aws.plain("iam"))


def make_function(client: Any, role: str, **changes: Any) -> dict[str, Any]:
    wanted = {
        "FunctionName": NAME,
        "Role": role,
        "Runtime": "python3.13",
        "Handler": "run.sh",
        "Code": {"ZipFile": package()},
    }
    made: dict[str, Any] = client.create_function(**(wanted | changes))
    return made


def settle(client: Any, name: str = NAME) -> dict[str, Any]:
    """Wait as a caller would, and return the configuration."""
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
    return found


def ready_function(aws: InProcess, client: Any = None, **changes: Any) -> Any:
    """Make a function that takes updates; return the strict client."""
    client = client or aws.session.client("lambda")
    make_function(client, old_role(aws), **changes)
    settle(client)
    return client


def refused(code: str, call: Callable[..., Any], **params: Any) -> ClientError:
    """Expect that AWS refuses a call with `code`, and return the error."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value
