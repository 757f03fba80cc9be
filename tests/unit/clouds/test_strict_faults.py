"""Recorder, faults and the state that processes share."""

from __future__ import annotations

import contextlib
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from devstack.clouds.aws.in_process import InProcess
from devstack.clouds.aws.strict.books import FileState, new_token
from devstack.clouds.aws.strict.faults import (
    CrashAt,
    Fault,
    Killed,
    LostResponse,
    ServerError,
    Throttle,
    writes_only,
)
from devstack.clouds.aws.strict.rules import RULES
from tests.unit.clouds.aws_kit import make_role, refused


@pytest.fixture
def iam(aws: InProcess) -> Any:
    return aws.session.client("iam")


def roles(aws: InProcess) -> list[str]:
    return [each["RoleName"] for each in aws.plain("iam").list_roles()["Roles"]]


def test_the_recorder_tells_writes_from_reads(aws: InProcess, iam: Any) -> None:
    make_role(iam)
    iam.list_roles()
    s3 = aws.session.client("s3")
    s3.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="packages", Key="k", Body=b"")
    s3.head_object(Bucket="packages", Key="k")
    refused("NoSuchEntity", iam.delete_role, RoleName="absent")
    assert [str(each) for each in aws.strict.recorder.writes()] == [
        "iam:CreateRole role",
        "s3:CreateBucket packages",
        "s3:PutObject packages/k",
        "iam:DeleteRole absent",
    ]
    assert len(aws.strict.recorder.calls) == 6
    aws.strict.recorder.clear()
    assert not aws.strict.recorder.calls


def test_a_caller_is_killed_before_the_call_took_effect_or_after(aws: InProcess, iam: Any) -> None:
    for took_effect in (False, True):
        fault = CrashAt(2, took_effect=took_effect)
        aws.strict.inject(fault)
        iam.list_roles()
        with pytest.raises(Killed):
            make_role(iam)
        assert fault.happened
        assert roles(aws) == (["role"] if took_effect else [])


def test_a_killed_caller_makes_no_call_any_more(aws: InProcess, iam: Any) -> None:
    aws.strict.inject(CrashAt(1))
    for _ in range(2):
        with pytest.raises(Killed):
            make_role(iam)
    assert roles(aws) == []
    aws.strict.inject()
    make_role(iam)


def test_nothing_that_catches_errors_catches_a_kill() -> None:
    assert not issubclass(Killed, Exception)


def test_a_fault_may_count_writes_alone(aws: InProcess, iam: Any) -> None:
    fault = CrashAt(2, counts=writes_only)
    aws.strict.inject(fault)
    make_role(iam, "first")
    iam.list_roles()
    assert not fault.happened
    with pytest.raises(Killed):
        make_role(iam, "second")


def test_a_throttled_call_is_made_again_as_botocore_would(aws: InProcess, iam: Any) -> None:
    aws.strict.inject(Throttle(every=2))
    for number in range(6):
        make_role(iam, f"r{number}")
    assert len(roles(aws)) == 6
    assert len(aws.strict.recorder.calls) == 11


def test_attempts_are_counted_as_each_configuration_counts_them(aws: InProcess) -> None:
    aws.strict.inject(Throttle(every=1))
    wanted: dict[int, Any] = {2: {"max_attempts": 1}, 3: None, 5: {"mode": "legacy"}}
    for attempts, retries in wanted.items():
        client = aws.session.client("iam", config=Config(retries=retries))
        aws.strict.recorder.clear()
        refused("Throttling", client.list_roles)
        assert len(aws.strict.recorder.calls) == attempts


@pytest.mark.parametrize(
    ("service", "code", "call"),
    [
        ("lambda", "TooManyRequestsException", "list_functions"),
        ("s3", "SlowDown", "list_buckets"),
        ("iam", "Throttling", "list_roles"),
        ("secretsmanager", "ThrottlingException", "list_secrets"),
    ],
)
def test_throttling_without_an_end_reaches_the_caller(
    aws: InProcess, service: str, code: str, call: str
) -> None:
    client = aws.session.client(service, config=Config(retries={"total_max_attempts": 3}))  # type: ignore[call-overload]
    aws.strict.inject(Throttle(every=1))
    refused(code, getattr(client, call))
    assert len(aws.strict.recorder.calls) == 3


def test_a_server_error_may_hide_that_the_call_took_effect(aws: InProcess, iam: Any) -> None:
    aws.strict.inject(ServerError(1, took_effect=True))
    refused("EntityAlreadyExists", make_role, iam=iam)  # the second attempt finds what the first one made
    aws.strict.inject(ServerError(1))
    make_role(iam, "other")
    aws.strict.inject(ServerError(1, times=9))
    error = refused("ServiceFailure", make_role, iam=iam, name="third")
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert sorted(roles(aws)) == ["other", "role"]


def test_a_lost_answer_leaves_its_effect(aws: InProcess, iam: Any) -> None:
    aws.strict.inject(LostResponse(1))
    refused("EntityAlreadyExists", make_role, iam=iam)
    aws.strict.inject(LostResponse(1, times=9))
    with pytest.raises(ConnectionClosedError):
        iam.list_roles()
    assert roles(aws) == ["role"]


def test_what_aws_refuses_is_not_tried_again(aws: InProcess, iam: Any) -> None:
    refused("NoSuchEntity", iam.delete_role, RoleName="absent")
    assert len(aws.strict.recorder.calls) == 1


def test_a_fault_of_ones_own_sees_every_call(aws: InProcess, iam: Any) -> None:
    class AfterCreate(Fault):
        def after(self, call: Any, number: int) -> None:
            if call.operation == "CreateRole":
                raise call.refusal("AccessDenied", "no", 403)

    aws.strict.inject(AfterCreate())
    with pytest.raises(ClientError):
        make_role(iam)
    assert roles(aws) == ["role"]


def test_every_rule_says_what_it_is_and_which_document_it_stands_for() -> None:
    assert len({each.name for each in RULES}) + 3 >= len(RULES)
    for each in RULES:
        assert each.handle.__doc__, each.name
        assert len(each.document) > 15, each.name


def _count(folder: Path, times: int) -> None:
    state = FileState(folder)
    for _ in range(times):
        with state.opened() as book:
            book.tick()
            new_token(book)


def test_processes_share_a_state_without_losing_a_call(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(tmp_path, 200)) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
        assert each.exitcode == 0
    with FileState(tmp_path).opened() as book:
        assert book.clock == 600
        assert book.document["serial"] == 600


def test_a_refused_call_keeps_what_it_changed(tmp_path: Path) -> None:
    state = FileState(tmp_path)
    with contextlib.suppress(RuntimeError), state.opened() as book:
        book.tick()
        raise RuntimeError
    assert FileState(tmp_path).read().clock == 1
