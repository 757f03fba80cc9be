"""One call on its way to moto, and what a rule is: something that stands between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from devstack.clouds.aws.strict.books import Book, FunctionBook, new_token

Answer = dict[str, Any]
Proceed = Callable[[], Answer]

LATEST = "$LATEST"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long AWS takes, counted in calls so that a test need not wait."""

    polls: int = 2
    """Reads that show a new or changed function, or version, as not settled yet."""
    role_calls: int = 6
    """Calls after a role was made for which Lambda cannot assume it."""
    read_calls: int = 2
    """Calls after a role was made for which reads of it find nothing."""
    poll_seconds: float = 0.0
    """What waiters sleep between two polls."""


@dataclass(slots=True)
class Call:
    """One call: what was asked, by whom, and what the rules may use to judge it."""

    client: BaseClient
    service: str
    operation: str
    params: dict[str, Any]
    book: Book
    timing: Timing
    account: str
    send: Callable[[str, dict[str, Any]], Answer]
    """Sends an operation of the same service to moto, past the rules."""
    companion: Callable[[str], Any]
    """Returns a client of another service that no rule watches."""
    keep_code: Callable[[str, bytes], None]
    notes: dict[str, Any] = field(default_factory=dict)
    """What an outer rule learns from an inner one."""

    @property
    def region(self) -> str:
        return str(self.client.meta.region_name)

    @property
    def function_name(self) -> str:
        return self._name_and_qualifier()[0]

    @property
    def qualifier(self) -> str | None:
        """Return the version or alias that the call names, None when it names none."""
        return self.params.get("Qualifier") or self._name_and_qualifier()[1]

    @property
    def function_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.function_name}"

    @property
    def function(self) -> FunctionBook:
        """Return what is known of the call's function.

        Raises:
            ClientError: ResourceNotFoundException, there is none.
        """
        found = self.book.function(self.function_arn)
        if found is None:
            raise self.refusal("ResourceNotFoundException", f"Function not found: {self.function_arn}", 404)
        return found

    def version_of(self, qualifier: str | None) -> str:
        """Return the version that a qualifier means: itself, or the one that the alias leads to."""
        if qualifier is None or qualifier == LATEST or qualifier.isdigit():
            return qualifier or LATEST
        return str(self.alias(qualifier)["FunctionVersion"])

    def alias(self, name: str) -> Answer:
        """Return an alias as moto has it; raises ResourceNotFoundException."""
        return self.send("GetAlias", {"FunctionName": self.function_name, "Name": name})

    def aliases(self) -> list[Answer]:
        """Return all aliases of the function, as moto has them."""
        return list(self.send("ListAliases", {"FunctionName": self.function_name}).get("Aliases", []))

    def token(self) -> str:
        """Return a fresh revision id."""
        return new_token(self.book)

    def refusal(self, code: str, message: str, status: int = 400) -> ClientError:
        """Return the error that botocore would make of a refusal by AWS; the caller raises it."""
        parsed: Any = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0},
        }
        kind: Any = self.client.exceptions.from_code(code)
        error: ClientError = kind(parsed, self.operation)
        return error

    def _name_and_qualifier(self) -> tuple[str, str | None]:
        text = str(self.params.get("FunctionName", ""))
        name = text.rsplit(":function:", maxsplit=1)[-1]
        name, _, qualifier = name.partition(":")
        return name, qualifier or None


class Handle(Protocol):
    def __call__(self, call: Call, proceed: Proceed) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that AWS does and moto does not."""

    name: str
    service: str
    operations: frozenset[str]
    document: str
    """Where AWS says so."""
    handle: Handle


def rule(service: str, *operations: str, document: str) -> Callable[[Handle], Rule]:
    """Make a rule of a function that is called in place of moto, and may call moto by `proceed`.

    Args:
        service: botocore's name of the service.
        operations: the ones that it stands before.
        document: the AWS document and section that it stands for.
    """

    def declare(handle: Handle) -> Rule:
        name = getattr(handle, "__name__", "").removeprefix("_")
        return Rule(name, service, frozenset(operations), document, handle)

    return declare


def configurations(answer: Answer) -> Iterator[Answer]:
    """Yield every function configuration that stands in an answer."""
    if "Configuration" in answer:
        yield answer["Configuration"]
    elif "FunctionArn" in answer:
        yield answer
    yield from answer.get("Functions", [])
    yield from answer.get("Versions", [])
