"""Packages: really read, really zips, within the limits, from the version of the object that was named.

moto gets an empty package in place of each: what it stores would be seen by nobody, and seven functions are
hundreds of megabytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import Any, Final

from botocore.exceptions import ClientError

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, configurations, rule
from devstack.clouds.aws.strict.rules.configurations import dress

_DIRECT_BYTES: Final = 50 * 1024 * 1024
_UNZIPPED_BYTES: Final = 250 * 1024 * 1024
_SOURCES: Final = ("ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode")


def _empty_package() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("empty"), b"")
    return buffer.getvalue()


_PLACEHOLDER: Final = _empty_package()


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionCode",
    document="Lambda API Reference, FunctionCode and UpdateFunctionCode; Developer Guide, Lambda quotas",
)
def uploaded(call: Call, proceed: Proceed) -> Answer:
    """A package must be a zip that is there; a dry run returns its digest and changes nothing.

    moto takes anything for a zip and a missing key for code, ignores S3ObjectVersion, and answers a dry run
    with the old digest.
    """
    source = call.params["Code"] if call.operation == "CreateFunction" else call.params
    if "ImageUri" in source:
        return proceed()
    package = _read(call, source)
    digest = hashlib.sha256(package)
    sha = base64.b64encode(digest.digest()).decode()
    if call.params.pop("DryRun", False):
        return _dry_run(call, sha, len(package))
    for name in _SOURCES:
        call.params.pop(name, None)
    placeholder = {"ZipFile": _PLACEHOLDER}
    call.params |= {"Code": placeholder} if call.operation == "CreateFunction" else placeholder
    answer = proceed()
    call.keep_code(digest.hexdigest(), package)
    record = call.function["records"][LATEST]
    record["sha"], record["size"] = sha, len(package)
    return answer


@rule("lambda", "PublishVersion", document="Lambda API Reference, PublishVersion: CodeSha256")
def guarded_by_digest(call: Call, proceed: Proceed) -> Answer:
    """A version is published only of the code whose digest was named; moto publishes whatever is there."""
    wanted = call.params.pop("CodeSha256", None)
    present = call.function["records"][LATEST]["sha"]
    if wanted is not None and wanted != present:
        message = f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({present})."
        raise call.refusal("InvalidParameterValueException", message)
    return proceed()


def _dry_run(call: Call, sha: str, size: int) -> Answer:
    call.notes["dry_run"] = True
    answer = call.send("GetFunctionConfiguration", {"FunctionName": call.function_name})
    record = call.function["records"][LATEST].copy()
    record["sha"], record["size"] = sha, size
    for config in configurations(answer):
        dress(config, record)
    return answer


def _read(call: Call, source: dict[str, Any]) -> bytes:
    if "ZipFile" in source:
        package = bytes(source["ZipFile"])
        if len(package) > _DIRECT_BYTES:
            raise call.refusal("RequestEntityTooLargeException", "Request must be smaller than 50 MB", 413)
    else:
        package = _from_bucket(call, source)
    _check_zip(call, package)
    return package


def _from_bucket(call: Call, source: dict[str, Any]) -> bytes:
    where = {"Bucket": source.get("S3Bucket"), "Key": source.get("S3Key")}
    if "S3ObjectVersion" in source:
        where["VersionId"] = source["S3ObjectVersion"]
    try:
        return bytes(call.companion("s3").get_object(**where)["Body"].read())
    except ClientError as error:
        found = error.response["Error"]
        message = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"
        raise call.refusal(
            "InvalidParameterValueException", message.format(found["Code"], found["Message"])
        ) from error


def _check_zip(call: Call, package: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        message = "Could not unzip uploaded file. Please check your file, then try to upload again."
        raise call.refusal("InvalidParameterValueException", message) from error
    if size > _UNZIPPED_BYTES:
        message = f"Unzipped size must be smaller than {_UNZIPPED_BYTES} bytes"
        raise call.refusal("InvalidParameterValueException", message)
