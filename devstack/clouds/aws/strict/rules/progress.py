"""Creating and updating takes time: what is new is Pending, and an update InProgress, for some polls."""

from __future__ import annotations

from devstack.clouds.aws.strict.books import Record
from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule

_SETTLED = -1


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "GetFunction",
    "GetFunctionConfiguration",
    document="Lambda Developer Guide, Lambda function states; aws/aws-sdk issue 377",
)
def settling(call: Call, proceed: Proceed) -> Answer:
    """A new function is Pending and a changed one InProgress until it was read often enough.

    The revision id changes once more when it settles: the id that the update returned is stale by then.
    moto says Active and Successful at once, so that nobody's waiter is ever tried.
    """
    reads = call.operation.startswith("Get")
    answer = proceed()
    if reads:
        poll(call, call.function["records"][call.version_of(call.qualifier)])
    elif not call.notes.get("dry_run"):
        record = call.function["records"][LATEST]
        record["polls"] = call.timing.polls
        record["update"] = "Successful" if call.operation == "CreateFunction" else "InProgress"
        if call.operation == "CreateFunction":
            record["state"] = "Pending"
    return answer


@rule(
    "lambda",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "PublishVersion",
    document="Lambda Developer Guide, Lambda function states, Function states while updating",
)
def refused_while_settling(call: Call, proceed: Proceed) -> Answer:
    """A function that is being created or updated takes no further update and publishes no version.

    A refused attempt counts as a poll: time passes for who only tries again, too.
    """
    record = call.function["records"][LATEST]
    if record["polls"] != _SETTLED:
        poll(call, record)
    if record["polls"] == _SETTLED or call.params.get("DryRun"):
        return proceed()
    reason = (
        "The function is currently in the following state: Pending"
        if record["state"] == "Pending"
        else f"An update is in progress for resource: {call.function_arn}"
    )
    message = f"The operation cannot be performed at this time. {reason}"
    raise call.refusal("ResourceConflictException", message, 409)


def poll(call: Call, record: Record) -> None:
    """Let a record come one poll nearer to being settled."""
    if record["polls"] == _SETTLED:
        return
    if record["polls"] > 0:
        record["polls"] -= 1
        return
    record |= {"polls": _SETTLED, "state": "Active", "update": "Successful", "revision": call.token()}
