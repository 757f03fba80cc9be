"""Calls to AWS: tried again where that can help, told in our words, without a secret in them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)

from deployment.errors import ProviderError, Refused
from deployment.providers.attempts import (
    ATTEMPTS,
    ATTEMPTS_TO_CONNECT,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    pause_seconds,
)
from deployment.providers.aws.calls import (
    AwsError,
    Calls,
    pages,
)


def told(code: str, message: str = "no", status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "PutThing")


def failing(error: Exception, times: int = 10_000) -> tuple[Callable[..., str], list[int]]:
    """Return a method that fails so many times, and where its calls are counted."""
    made: list[int] = []

    def put_thing(**_: str) -> str:
        made.append(1)
        if len(made) <= times:
            raise error
        return "done"

    return put_thing, made


TRANSIENT = [
    told("TooManyRequestsException", status=429),
    told("ThrottlingException"),
    told("SlowDown", status=503),
    told("ServiceException", status=500),
    told("Whatever", status=502),
    told("ConcurrentModification", status=409),
    told("ConditionalRequestConflict", status=409),
    told("ResourceConflictException", "An update is in progress for resource: x", 409),
    told("ResourceConflictException", "The function is currently in the following state: Pending", 409),
    told("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."),
    ReadTimeoutError(endpoint_url="https://lambda"),
]
FINAL = [
    told("ResourceConflictException", "Function already exist: x", 409),
    told("InvalidParameterValueException", "The runtime parameter is not supported."),
    told("AccessDeniedException", status=403),
    told("PreconditionFailedException", status=412),
    ParamValidationError(report="Missing required parameter"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_passes_by_itself_is_tried_again(error: Exception) -> None:
    waits: list[float] = []
    method, made = failing(error, times=3)
    assert Calls(waits.append)(method) == "done"
    assert (len(made), len(waits)) == (4, 3)


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_does_not_pass_is_told_after_the_last_attempt(error: Exception) -> None:
    method, made = failing(error)
    with pytest.raises(AwsError, match="put_thing") as caught:
        Calls(lambda _: None)(method)
    assert len(made) == caught.value.attempts == ATTEMPTS


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_will_not_change_is_told_at_once(error: Exception) -> None:
    method, made = failing(error)
    with pytest.raises(ProviderError):
        Calls(lambda _: None)(method)
    assert len(made) == 1


def test_where_nobody_is_to_talk_to_is_told_soon() -> None:
    method, made = failing(EndpointConnectionError(endpoint_url="https://lambda"))
    with pytest.raises(AwsError, match="Could not connect"):
        Calls(lambda _: None)(method)
    assert len(made) == ATTEMPTS_TO_CONNECT


@pytest.mark.parametrize(
    "error",
    [NoCredentialsError(), told("ExpiredTokenException"), told("InvalidClientTokenId", status=403)],
    ids=repr,
)
def test_missing_or_bad_credentials_are_told_with_what_to_set(error: Exception) -> None:
    method, made = failing(error)
    with pytest.raises(Refused, match="AWS_PROFILE"):
        Calls(lambda _: None)(method)
    assert len(made) == 1


def test_a_missing_region_is_told_with_where_it_stands() -> None:
    method, _ = failing(NoRegionError())
    with pytest.raises(Refused, match="`region`"):
        Calls(lambda _: None)(method)


def test_a_hidden_value_is_nowhere_in_what_is_raised() -> None:
    value = "planted"
    method, _ = failing(told("ValidationException", f"Value {value} at 'secretString' is too long"))
    with pytest.raises(AwsError) as caught:
        Calls(lambda _: None).hiding(value, method)
    shown = "".join(traceback.format_exception(caught.value))
    assert value not in shown
    assert "[hidden]" in shown


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "NoSuchEntity", "NoSuchKey", "404"])
def test_what_is_not_there_is_none_when_asked_for_so(code: str) -> None:
    method, _ = failing(told(code, status=404))
    assert Calls(lambda _: None).maybe(method) is None


def test_pauses_grow_to_a_bound_and_are_not_in_step() -> None:
    for attempt in range(1, 30):
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        assert longest / 2 <= pause_seconds(attempt) <= longest
    assert len({pause_seconds(5) for _ in range(20)}) > 1


def test_all_pages_are_read() -> None:
    answers: dict[str, dict[str, Any]] = {
        "": {"Things": [1, 2], "Next": "b"},
        "b": {"Things": [3], "Next": "c"},
        "c": {"Things": [4]},
    }

    def list_things(*, Mark: str = "", Kind: str) -> dict[str, Any]:  # noqa: N803
        assert Kind == "k"
        return answers[Mark]

    assert pages(Calls(), list_things, "Things", ("Next", "Mark"), Kind="k") == [1, 2, 3, 4]
