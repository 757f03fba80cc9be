"""Functions in memory that check signatures as the real ones do, to be broken one by one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx

from deployment.deliveries import ACTIONS, EVENTS, probe_path
from shared.auth import StreamTokens, UserTokens
from shared.errors import AuthRequired, SignatureError
from shared.messages import parse_probe
from shared.routing import Lane
from shared.settings import AuthSettings, SigningKeys
from shared.signature import verify_signature

KEYS = SigningKeys("sig_the-current-key-of-this-test", "sig_the-following-key-of-this-test")
STREAM_SECRET = "a stream-token secret of these tests alone"
USER_SECRET = "a user-token secret of these tests alone!!"
NAMES = (*(lane.value for lane in Lane), ACTIONS)


@dataclass(frozen=True)
class Function:
    """One function: what it believes of itself."""

    name: str
    url: str
    keys: SigningKeys = KEYS
    stream_secret: str = STREAM_SECRET
    user_secret: str = USER_SECRET
    status: int | None = None
    """What it answers whatever comes; None for what it should."""
    body: Mapping[str, str] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.status is not None:
            return httpx.Response(self.status, json=dict(self.body))
        path = request.url.path
        if request.method == "GET":
            return self._called(request, path)
        if path != probe_path(self.name):
            return httpx.Response(404, json={"error": "not_found"})
        return self._delivered(request, path)

    def _delivered(self, request: httpx.Request, path: str) -> httpx.Response:
        header = request.headers.get("Upstash-Signature")
        try:
            verify_signature(header, request.content, self.url + path, self.keys)
        except SignatureError:
            return httpx.Response(401, json={"error": "bad_signature"})
        probe = parse_probe(request.content)
        assert probe is not None, "nothing but probes is sent"
        return httpx.Response(200, json=probe.answer(self.name))

    def _called(self, request: httpx.Request, path: str) -> httpx.Response:
        try:
            match path.strip("/").split("/"):
                case ["healthz"]:
                    return httpx.Response(200, json={"ok": True})
                case ["tasks", _id] if self.name == ACTIONS:
                    tokens = UserTokens(AuthSettings(self.user_secret, None, None, None))
                    tokens.user_id(request.headers.get("Authorization"))
                case ["events", service, task] if self.name == EVENTS:
                    token = request.url.params.get("token")
                    StreamTokens(self.stream_secret).check(token, service, task)
        except AuthRequired:
            return httpx.Response(401, json={"error": "auth_required"})
        return httpx.Response(404, json={"error": "not_found"})


class World:
    """Functions at their addresses; `world.functions[url]` may be exchanged for a broken one."""

    def __init__(self, names: tuple[str, ...] = (*NAMES, EVENTS)) -> None:
        self.urls = {name: f"https://{name.replace('_', '-')}.example" for name in names}
        self.functions = {url: Function(name, url) for name, url in self.urls.items()}
        self.failures: list[int | type[httpx.TransportError]] = []
        """What the next requests meet instead of an answer, in their order."""
        self.requests: list[httpx.Request] = []

    def change(self, name: str, /, **facts: object) -> None:
        """Make the function at the address of `name` believe something else."""
        url = self.urls[name]
        self.functions[url] = replace(self.functions[url], **facts)  # type: ignore[arg-type]

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if not isinstance(failure, int):
                raise failure("cut", request=request)
            return httpx.Response(failure, text="<html>no function of ours</html>")
        return self.functions[f"https://{request.url.host}"].answer(request)


class Waiting:
    """A clock that runs only while somebody waits."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))  # the real clock, by which tokens are checked

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now
