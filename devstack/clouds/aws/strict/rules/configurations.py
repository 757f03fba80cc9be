"""What a function configuration says beside moto's: digests, state, revision, settings."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from devstack.clouds.aws.strict.books import Record
from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, configurations, rule

_VOLATILE = frozenset(
    {
        "ConfigSha256",
        "CodeSha256",
        "CodeSize",
        "LastModified",
        "RevisionId",
        "Version",
        "FunctionArn",
        "State",
        "LastUpdateStatus",
        "ResponseMetadata",
        "StateReason",
        "StateReasonCode",
    }
)


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "PublishVersion",
    "GetFunction",
    "GetFunctionConfiguration",
    "ListFunctions",
    "ListVersionsByFunction",
    document="Lambda API Reference, FunctionConfiguration; Developer Guide, Lambda function states",
)
def dressed(call: Call, proceed: Proceed) -> Answer:
    """A configuration has a RevisionId, a ConfigSha256, a true State, and the ARN that it was asked for by.

    moto returns no RevisionId and no ConfigSha256, and ends the ARN of what an alias leads to in the version.
    """
    answer = proceed()
    if call.notes.get("dry_run"):
        return answer
    for config in configurations(answer):
        arn, version = _arn_and_version(config)
        function = call.book.function(arn)
        record = function["records"].get(version) if function else None
        if record is not None:
            dress(config, record)
        if "Versions" not in answer and call.qualifier not in {None, LATEST}:
            config["FunctionArn"] = f"{arn}:{call.qualifier}"
    return answer


def dress(config: Answer, record: Record) -> None:
    """Write into a configuration what the book knows of it."""
    config |= record["settings"]
    config |= {
        "CodeSha256": record["sha"],
        "CodeSize": record["size"],
        "RevisionId": record["revision"],
        "State": record["state"],
        "LastUpdateStatus": record["update"],
    }
    if record["state"] == "Pending":
        config |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        del config["LastUpdateStatus"]
    config["ConfigSha256"] = config_digest(config)


def config_digest(config: Answer) -> str:
    """Return a digest over all that is configuration: not the code, not what changes by itself."""
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    return base64.b64encode(hashlib.sha256(_canonical(kept)).digest()).decode()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _arn_and_version(config: Answer) -> tuple[str, str]:
    parts = str(config["FunctionArn"]).split(":")
    return ":".join(parts[:7]), str(config.get("Version", LATEST))
