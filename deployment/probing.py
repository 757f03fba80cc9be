"""The prober: asks a revision, before it goes live, whether it works and lets in whom it should.

    lanes, actions   a probe signed with the current key, with the next: answered;
                     unsigned, signed for another function, signed with a key of nobody's: refused
    actions          besides: refused without a user's token, known with one
    events           refused without a stream token or with one of nobody's; with a good one it has looked

The candidate is asked at its own address, with signatures for the function's public one: that is what
QStash will sign. A cold start may fail to answer, so that nothing and 5xx are asked again for a while; a
wrong answer is final. Values of secrets come from the environment's store, by the versions that the state
pins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import jwt

from deployment.deliveries import (
    ACTIONS,
    EVENTS,
    Answer,
    Question,
    accepted_probe,
    ask,
    foreign_probe,
    hmac_key,
    new_key,
    new_nonce,
    probe_path,
    refused_probe,
    takes_deliveries,
)
from deployment.errors import ProbeFailed
from deployment.secret_store import SecretStore
from deployment.states import FunctionState
from shared.auth import StreamTokens
from shared.routing import Lane

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.25
TOKEN_SECONDS = 300
PROBING_USER = "sluice-probe"
CURRENT_KEY, NEXT_KEY = "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"
STREAM_SECRETS = ("STREAM_TOKEN_SECRET", "STREAM_TOKEN_SECRET_SECOND")
USER_SECRETS = ("AUTH_JWT_SECRET", "AUTH_JWT_SECRET_SECOND")
_FORBIDDEN = 403
_TOO_MANY = 429


def _nowhere(_function: str) -> str:
    return ""


@dataclass(frozen=True)
class SignedProber:
    """Probes with the environment's own keys."""

    secrets: SecretStore
    client: httpx.Client
    address_of: Callable[[str], str]
    """Returns a function's public URL, which never changes; asked only for functions that have one."""
    log_of: Callable[[str], str] = _nowhere
    """Says where a function's log is to be read; empty when nobody knows."""
    stopped: Callable[[], Collection[str]] = tuple
    """Returns the functions that are stopped at this moment: the switch may be thrown during a deploy."""
    patience_seconds: float = PATIENCE_SECONDS
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    _addresses: dict[str, str] = field(default_factory=dict)

    def probe(self, state: FunctionState, url: str) -> None:
        """Return when the function at `url`, made of `state`, answers every question as it must.

        Raises:
            ProbeFailed: it does not; the text says what was asked, what came, and where its log is.
            MissingSecret: a version that the state pins is not in the store.
        """
        deadline = self.clock() + self.patience_seconds
        for question in self._questions(state):
            answer = self._ask_patiently(state.name, url, question, deadline)
            if self._is_stopped(state.name, answer):
                return
            if not answer.right:
                raise ProbeFailed(self._failure(state.name, url, question, answer))

    def _ask_patiently(self, name: str, url: str, question: Question, deadline: float) -> Answer:
        while _may_pass(answer := ask(self.client, url, question)) and self.clock() < deadline:
            if self._is_stopped(name, answer):
                break
            self.wait(PAUSE_SECONDS)
        return answer

    def _is_stopped(self, name: str, answer: Answer) -> bool:
        """Tell whether it is the kill switch that answers, as Lambda does: nothing can be asked then."""
        return answer.status == _TOO_MANY and name in self.stopped()

    def _questions(self, state: FunctionState) -> Iterator[Question]:
        if takes_deliveries(state.name):
            yield from self._deliveries(state)
        if state.name == ACTIONS:
            yield from self._users(state)
        if state.name == EVENTS:
            yield from self._streams(state)

    def _deliveries(self, state: FunctionState) -> Iterator[Question]:
        name, now = state.name, self.clock()
        url = self._address(name) + probe_path(name)
        current, following = self._value(state, CURRENT_KEY), self._value(state, NEXT_KEY)
        yield accepted_probe("a probe signed with the current key", name, url, current, now=now)
        yield accepted_probe("a probe signed with the next key", name, url, following, now=now)
        yield refused_probe("an unsigned probe", name, None)
        other = next(lane.value for lane in Lane if lane != name)
        foreign = self._address(other) + probe_path(other)
        yield foreign_probe(f"a probe signed for {other}", name, foreign, current, now=now)
        yield foreign_probe("a probe signed with an unknown key", name, url, new_key(), now=now)

    def _users(self, state: FunctionState) -> Iterator[Question]:
        yield Question("its health", "/healthz", 200, {})
        path = f"/tasks/{new_nonce()}"
        yield Question("a call without a user's token", path, 401, {"error": "auth_required"})
        for variable in USER_SECRETS:
            if variable in state.secrets:
                told = f"a call with a token by {variable}"
                headers = {"Authorization": f"Bearer {self._user_token(state, variable)}"}
                yield Question(told, path, 404, {"error": "not_found"}, headers=headers)

    def _streams(self, state: FunctionState) -> Iterator[Question]:
        nonce = new_nonce()
        path = f"/events/probe/{nonce}"
        yield Question("a stream without a token", path, 401, {"error": "auth_required"})
        # 404 says that the token was accepted and Redis was asked: there is no such task.
        for variable in STREAM_SECRETS:
            if variable in state.secrets:
                query = {"token": self._stream_token(self._value(state, variable), nonce)}
                told = f"a stream with a token by {variable}"
                yield Question(told, path, 404, {"error": "not_found"}, query=query)
        query = {"token": self._stream_token(new_key(), nonce)}
        yield Question(
            "a stream with a token of nobody's", path, 401, {"error": "auth_required"}, query=query
        )

    def _stream_token(self, secret: str, nonce: str) -> str:
        return StreamTokens(secret, TOKEN_SECONDS, clock=self.clock).issue(PROBING_USER, "probe", nonce)

    def _user_token(self, state: FunctionState, variable: str) -> str:
        now = int(self.clock())
        claims: dict[str, str | int] = {"sub": PROBING_USER, "iat": now, "exp": now + TOKEN_SECONDS}
        for claim, name in (("iss", "AUTH_ISSUER"), ("aud", "AUTH_AUDIENCE")):
            if value := state.variables.get(name):
                claims[claim] = value
        return jwt.encode(claims, hmac_key(self._value(state, variable)), algorithm="HS256")

    def _value(self, state: FunctionState, variable: str) -> str:
        if variable not in state.secrets:
            raise ProbeFailed(f"{state.name} cannot be probed: its state pins no {variable}.")
        return self.secrets.read(state.secrets[variable])

    def _address(self, function: str) -> str:
        if function not in self._addresses:
            self._addresses[function] = self.address_of(function)
        return self._addresses[function]

    def _failure(self, name: str, url: str, question: Question, answer: Answer) -> str:
        came = "nothing" if answer.status is None else str(answer.status)
        lines = [
            f"{name} does not answer as it must.",
            f"  asked     {question.told}: {question.method} {_shown(url)}{question.path}",
            f"  came      {came}{f' ({answer.said})' if answer.said else ''}",
            f"  expected  {question.status}{_expectation(question)}",
        ]
        if answer.status == _TOO_MANY:
            lines.append("  perhaps it has been stopped, or its reserved concurrency is used up")
        if log := self.log_of(name):
            lines.append(f"  its log   {log}")
        return "\n".join(lines)


def _may_pass(answer: Answer) -> bool:
    """Tell whether the same question may be answered in a moment: a cold start, an address not yet known."""
    if answer.right:
        return False
    status = answer.status
    return (
        status is None or status >= 500 or status == _TOO_MANY or (status == _FORBIDDEN and not answer.ours)
    )


def _expectation(question: Question) -> str:
    said = question.said.get("error") or question.said.get("status")
    return f" ({said})" if said else ""


def _shown(url: str) -> str:
    """Return an address without what could be a password in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
