"""make_strict: gives a boto3 session's clients the rules, the recorder and the faults.

A call goes  recorder → faults → (retried as botocore would) → rules, outermost first → botocore → moto.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.validate import validate_parameters

from devstack.clouds.aws.sessions import MOTO_ACCOUNT
from devstack.clouds.aws.strict.books import State
from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, Rule, Timing
from devstack.clouds.aws.strict.faults import Fault
from devstack.clouds.aws.strict.recorder import recorded as noted
from devstack.clouds.aws.strict.rules import RULES
from devstack.clouds.recorder import Recorder

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_RETRIED_CODES = frozenset({"Throttling", "ThrottlingException", "SlowDown", "TooManyRequestsException"})
_STANDARD_ATTEMPTS = 3
_LEGACY_ATTEMPTS = 5


class Strictness:
    """What stands between a session's clients and moto."""

    def __init__(
        self,
        state: State,
        companion: Callable[[str, str], Any],
        *,
        rules: Iterable[Rule],
        timing: Timing,
        account: str,
    ) -> None:
        self.recorder = Recorder()
        self.timing = timing
        self._faults: list[Fault] = []
        self._state = state
        self._companion = functools.cache(companion)
        self._account = account
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        for each in rules:
            for operation in each.operations:
                self._rules.setdefault((each.service, operation), []).append(each)

    def inject(self, *faults: Fault) -> None:
        """Let these go wrong from now on, and nothing else; without arguments nothing does."""
        self._faults = list(faults)

    def handle(
        self, client: BaseClient, operation: str, params: dict[str, Any], send: Callable[..., Answer]
    ) -> Answer:
        """Carry out a call, with the attempts that botocore would make of it."""
        attempts = _attempts(client)
        while True:
            attempts -= 1
            try:
                return self._attempt(client, operation, params, send)
            except (ClientError, ConnectionClosedError) as error:
                if attempts <= 0 or not _is_retried(error):
                    raise

    def _attempt(
        self, client: BaseClient, operation: str, params: dict[str, Any], send: Callable[..., Answer]
    ) -> Answer:
        service = client.meta.service_model.service_name
        recorded = noted(service, operation, params)
        self.recorder.add(recorded)
        numbers = [(fault, fault.number(recorded)) for fault in self._faults]
        with self._state.opened() as book:
            book.tick()
            call = Call(
                client=client,
                service=service,
                operation=operation,
                params=dict(params),
                book=book,
                timing=self.timing,
                account=self._account,
                send=send,
                companion=lambda other: self._companion(other, str(client.meta.region_name)),
                keep_code=self._state.keep_code,
            )
            for fault, number in numbers:
                fault.before(call, number)
            answer = self._judged(call)
        for fault, number in numbers:
            fault.after(call, number)
        return answer

    def _judged(self, call: Call) -> Answer:
        rules = self._rules.get((call.service, call.operation), [])
        if rules:
            shape: Any = call.client.meta.service_model.operation_model(call.operation).input_shape
            validate_parameters(call.params, shape)
        proceed: Proceed = lambda: call.send(call.operation, call.params)  # noqa: E731
        for each in reversed(rules):
            proceed = functools.partial(each.handle, call, proceed)
        return proceed()


def make_strict(
    session: boto3.Session,
    state: State,
    *,
    companion: Callable[[str, str], Any],
    rules: Iterable[Rule] = RULES,
    timing: Timing | None = None,
    account: str = MOTO_ACCOUNT,
) -> Strictness:
    """Make every client strict that the session makes from now on.

    Args:
        session: the session; no other one is touched.
        state: what the rules remember; all sessions that speak with the same moto must share it.
        companion: makes a plain client by service and region, for the rules' own questions.
        rules: which ones hold; all, unless a test wants to see what moto does without one.
        timing: how long things take.
        account: the account that the session's credentials lead to.
    """
    strictness = Strictness(state, companion, rules=rules, timing=timing or Timing(), account=account)

    class StrictClient:
        def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Answer:
            client: Any = self
            send = super()._make_api_call  # type: ignore[misc]
            return strictness.handle(client, operation_name, api_params, send)

        def get_waiter(self, waiter_name: str) -> Any:
            waiter = super().get_waiter(waiter_name)  # type: ignore[misc]
            waiter.config.delay = strictness.timing.poll_seconds
            return waiter

    def add_base(base_classes: list[type], **_: Any) -> None:
        base_classes.insert(0, StrictClient)

    session.events.register("creating-client-class", add_base)
    return strictness


def _attempts(client: BaseClient) -> int:
    """Return how often botocore would try, as it has worked it out of a client's configuration."""
    config: Any = client.meta.config
    legacy = config.retries["mode"] == "legacy"
    return int(config.retries.get("total_max_attempts", _LEGACY_ATTEMPTS if legacy else _STANDARD_ATTEMPTS))


def _is_retried(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in _RETRIED_STATUS or error.response["Error"]["Code"] in _RETRIED_CODES
