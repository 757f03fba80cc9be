"""A call to AWS as the recorder notes it: what it is about, and whether it may have changed something."""

from __future__ import annotations

from devstack.clouds.recorder import Recorded

_READS = ("Get", "List", "Describe", "Head", "BatchGet", "Simulate", "AssumeRole")
_SUBJECTS = ("FunctionName", "RoleName", "SecretId", "Name", "logGroupName", "Resource", "resourceArn")


def recorded(service: str, operation: str, params: dict[str, object]) -> Recorded:
    """Return what is noted of a call with these parameters."""
    return Recorded(service, operation, _subject_of(params), is_write=not operation.startswith(_READS))


def _subject_of(params: dict[str, object]) -> str:
    """Return what a call is about."""
    if "Bucket" in params:
        return "/".join(str(params[name]) for name in ("Bucket", "Key") if name in params)
    return next((str(params[name]) for name in _SUBJECTS if name in params), "")
