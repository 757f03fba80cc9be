"""Revision ids: every change of a function makes a new one, and a write that names an old one is refused."""

from __future__ import annotations

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule

STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "PublishVersion",
    document="Lambda API Reference, UpdateFunctionConfiguration: RevisionId, PreconditionFailedException",
)
def guarded(call: Call, proceed: Proceed) -> Answer:
    """A write that names a revision which is not the latest is refused with 412; moto writes all the same."""
    wanted = call.params.pop("RevisionId", None)
    if wanted is not None:
        check(call, wanted, call.function["records"][LATEST]["revision"])
    answer = proceed()
    if call.operation != "PublishVersion" and not call.notes.get("dry_run"):
        call.function["records"][LATEST]["revision"] = call.token()
    return answer


def check(call: Call, wanted: str, present: str) -> None:
    """Refuse a revision id that is not the present one."""
    if wanted != present:
        raise call.refusal("PreconditionFailedException", STALE, 412)
