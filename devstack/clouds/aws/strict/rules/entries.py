"""Entries of functions in the book: made and removed with the functions themselves."""

from __future__ import annotations

from devstack.clouds.aws.strict.books import new_function
from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule


@rule("lambda", "CreateFunction", "DeleteFunction", document="Lambda API Reference, DeleteFunction")
def entered(call: Call, proceed: Proceed) -> Answer:
    """A deleted function takes its versions, aliases, URLs and policies with it."""
    answer = proceed()
    if call.operation == "CreateFunction":
        call.book.functions[call.function_arn] = new_function()
    elif call.qualifier is None:
        call.book.functions.pop(call.function_arn, None)
    return answer
