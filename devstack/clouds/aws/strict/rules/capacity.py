"""Reserved concurrency: shown also when it is zero, and never all that the account has."""

from __future__ import annotations

from typing import Final

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule

ACCOUNT_CONCURRENCY: Final = 1000
_LEAST_UNRESERVED: Final = 100


@rule("lambda", "GetFunction", document="Lambda API Reference, GetFunction: Concurrency")
def shown(call: Call, proceed: Proceed) -> Answer:
    """A function that was stopped by a reservation of zero says so; moto leaves a zero out."""
    answer = proceed()
    reserved = call.function["reserved"]
    if reserved is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
    return answer


@rule(
    "lambda",
    "PutFunctionConcurrency",
    "DeleteFunctionConcurrency",
    document="Lambda API Reference, PutFunctionConcurrency; Developer Guide, Lambda quotas",
)
def reserved(call: Call, proceed: Proceed) -> Answer:
    """At least 100 of the account's executions stay unreserved; moto counts nothing unless it is told to."""
    wanted = call.params.get("ReservedConcurrentExecutions")
    region = call.function_arn.rsplit(":", 1)[0]
    others = (
        function["reserved"] or 0
        for arn, function in call.book.functions.items()
        if arn.startswith(f"{region}:") and arn != call.function_arn
    )
    if wanted is not None and ACCOUNT_CONCURRENCY - wanted - sum(others) < _LEAST_UNRESERVED:
        message = (
            "Specified ReservedConcurrentExecutions for function decreases account's "
            "UnreservedConcurrentExecution below its minimum value of [100]."
        )
        raise call.refusal("InvalidParameterValueException", message)
    answer = proceed()
    call.function["reserved"] = wanted
    return answer
