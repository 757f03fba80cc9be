"""An environment in memory whose functions check what they are sent as the real ones do, and a QStash in memory.

After every single write of any kind it is asked whether somebody would be turned away now: a delivery, by what QStash
signs with or has on its way; a reader, by any token that is still about. It can be killed at any write.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from deployment.catalogue import FunctionSpec
from deployment.deliveries import ACTIONS, EVENTS, probe_path
from deployment.environments import Environment, Platform
from deployment.errors import MissingSecret
from deployment.execution import Progress
from deployment.lock import read_lock, unlock
from deployment.objects import Condition
from deployment.resources import Kind, Properties
from deployment.secret_store import SecretState
from deployment.states import FunctionState, SecretPin
from deployment.workspace import QSTASH_TOKEN, SIGNING_KEYS, Package, Workspace
from shared.auth import StreamTokens, UserTokens
from shared.errors import AuthRequired, SignatureError
from shared.messages import parse_probe
from shared.settings import AuthSettings, Env, SigningKeys
from shared.signature import verify_signature
from tests.unit.deployment.cloud_kit import CATALOGUE
from tests.unit.deployment.memory_kit import Killed, MemoryObjects, MemoryProvider, Quiet

NAMES = ("paid_stream", "events", "actions")
ELSEWHERE = ("free_stream", "paid_batch", "free_batch", "paid_vision")
"""Lanes that `actions` knows and that are not deployed here."""
STREAM, STREAM_SECOND = "STREAM_TOKEN_SECRET", "STREAM_TOKEN_SECRET_SECOND"
USERS, USERS_SECOND = "AUTH_JWT_SECRET", "AUTH_JWT_SECRET_SECOND"
VALUES = {
    "REDIS_URL": "redis://redis.example/0",
    "QSTASH_TOKEN": "a-token-of-the-test",
    "QSTASH_CURRENT_SIGNING_KEY": "sig_key-number-1-of-the-test",
    "QSTASH_NEXT_SIGNING_KEY": "sig_key-number-2-of-the-test",
    "DEEPSEEK_API_KEY": "a-deepseek-key-of-the-test",
    "AUTH_JWT_SECRET": "a-user-token-secret-of-the-test-0001",
    "STREAM_TOKEN_SECRET": "a-stream-token-secret-of-the-test-01",
}
QSTASH_URL = "https://qstash.example"
CODE = "c0ffee" * 6


@dataclass
class MemorySecrets:
    """A secret manager in memory: versions by name, the newest last."""

    write: Callable[[str, Callable[[], Any]], None]
    held: dict[str, list[str]] = field(default_factory=dict)

    def describe(self, names: Iterable[str]) -> Mapping[str, SecretState]:
        found = {name: self.held[name] for name in names if name in self.held}
        return {
            name: SecretState(name, str(len(values)), tuple(str(n) for n in range(len(values), 0, -1)))
            for name, values in found.items()
        }

    def read(self, pin: SecretPin) -> str:
        values = self.held.get(pin.name, [])
        if not pin.version.isdecimal() or int(pin.version) > len(values):
            raise MissingSecret(f"{pin.name} has no version {pin.version}")
        return values[int(pin.version) - 1]

    def put(self, name: str, value: str, *, request_id: str) -> str:
        assert request_id
        self.write(f"put {name}", lambda: self.held.setdefault(name, []).append(value))
        return str(len(self.held[name]))

    def keep_only(self, pins: object) -> None: ...

    def remove(self, name: str) -> None:
        self.held.pop(name, None)


@dataclass
class Bucket(MemoryObjects):
    """A bucket whose writes count."""

    write: Callable[[str, Callable[[], Any]], None] = lambda _what, act: act()

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        made: list[str] = []
        store = super().put
        self.write(f"object {key}", lambda: made.append(store(key, content, only_if=only_if)))
        return made[0]

    def delete(self, key: str) -> None:
        if key in self.held:
            forget = super().delete
            self.write(f"delete {key}", lambda: forget(key))


@dataclass
class FakeQStash:
    """QStash's keys and its schedule, over HTTP."""

    write: Callable[[str, Callable[[], Any]], None]
    number: int = 1
    rolls: int = 0
    tokens: set[str] = field(default_factory=lambda: {VALUES[QSTASH_TOKEN]})
    on_their_way: set[str] = field(default_factory=set)
    """Keys of before a roll, by which deliveries are still signed."""
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    lose_answer_of: set[str] = field(default_factory=set)
    refuse: bool = False
    away: bool = False

    @property
    def keys(self) -> SigningKeys:
        return SigningKeys(key(self.number), key(self.number + 1))

    def roll(self) -> None:
        self.on_their_way.add(self.keys.current)
        self.number += 1
        self.rolls += 1

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            return httpx.Response(401)
        called = f"{request.method} {request.url.path}"
        if called == "POST /v2/keys/rotate":
            if self.refuse:
                return httpx.Response(500, text="not now")
            self.write("roll", self.roll)
        if called in self.lose_answer_of:
            raise httpx.ReadTimeout("lost")
        if called in {"POST /v2/keys/rotate", "GET /v2/keys"}:
            return httpx.Response(200, json={"current": self.keys.current, "next": self.keys.next})
        if request.url.path.endswith("/resume"):
            self.write("resume", lambda: self.schedules["one"].pop("isPaused", None))
            return httpx.Response(200, json={})
        return self._scheduled(request)

    def _scheduled(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            made = {
                "destination": unquote(request.url.path.partition("/v2/schedules/")[2]),
                "cron": request.headers["Upstash-Cron"],
                "retries": int(request.headers["Upstash-Retries"]),
            }
            self.write("schedule", lambda: self.schedules.__setitem__("one", made))
            return httpx.Response(200, json={})
        if request.method == "DELETE":
            self.schedules.clear()
            return httpx.Response(200, json={})
        return httpx.Response(200, json=self.schedules["one"]) if self.schedules else httpx.Response(404)


def key(number: int) -> str:
    return f"sig_key-number-{number}-of-the-test"


class World(MemoryProvider):
    """The provider, its functions, and QStash; deep copies are worlds of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket(write=self._write)
        self.store = MemorySecrets(self._write, {name: [value] for name, value in VALUES.items()})
        self.qstash = FakeQStash(self._write)
        self.states: dict[str, FunctionState] = {}
        self.deaf: set[str] = set()
        """Functions that take only the current key, as a broken build of them would."""
        self.deaf_when_live: set[str] = set()
        """Functions that do so once their new revision takes calls."""
        self.broken: set[str] = set()
        """Functions that answer everything with 500."""
        self.stopped: set[str] = set()
        self.tokens_about: set[str] = set()
        """Secrets by which stream tokens are signed that some reader still holds."""
        self.users_about: set[str] = {VALUES[USERS]}
        self.turned_away: list[str] = []
        """Whoever would have been turned away after some write."""

        self.protected = False
        self.interrupted = False
        """Whether somebody presses Ctrl-C while something is waited for."""

    def wait(self, _seconds: float) -> None:
        """Let what is on its way arrive."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.qstash.on_their_way.clear()

    @property
    def secrets(self) -> MemorySecrets:
        return self.store

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        kinds = (Kind.IDENTITY, Kind.LOGS, Kind.ADDRESS)
        return {kind: {"of": spec.name} for kind in kinds} | {Kind.CAPACITY: {"stopped": stopped}}

    def upload(self, code: str, package: Path) -> None:
        """Take a package of any name: what the command has staged is a folder."""
        super().upload(code, package.with_name(code))

    def publish(self, state: FunctionState) -> None:
        self.states[state.fingerprint or ""] = state
        super().publish(state)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def outside(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.qstash.answer))

    # -- writes --------------------------------------------------------------------------------------------------------

    def _write(self, what: str, act: Callable[[], Any]) -> None:
        def acted() -> None:
            act()
            self._look(what)

        super()._write(what, acted)

    def _look(self, what: str) -> None:
        """Find out who would be turned away now."""
        signed_with = {self.qstash.keys.current, *self.qstash.on_their_way}
        for name, state in self._live():
            values = self.values(state)
            known = {values.get(each) for each in SIGNING_KEYS}
            if name != EVENTS and name not in self.stopped and not signed_with <= known:
                self.turned_away.append(f"a delivery to {name}, after {what}")
            if name == ACTIONS:
                self.tokens_about.add(values[STREAM])
                if not self.users_about <= {values[USERS], values.get(USERS_SECOND)}:
                    self.turned_away.append(f"a user, after {what}")
        for name, state in self._live():
            values = self.values(state)
            if name == EVENTS and not self.tokens_about <= {values[STREAM], values.get(STREAM_SECOND)}:
                self.turned_away.append(f"a reader, after {what}")

    def _live(self) -> Iterable[tuple[str, FunctionState]]:
        for name, machine in self.machines.items():
            for fingerprint, share in machine.live.items():
                if share:
                    yield name, self.states[fingerprint]

    def values(self, state: FunctionState) -> dict[str, str]:
        return {variable: self.store.read(pin) for variable, pin in state.secrets.items()}

    def live_values(self, name: str) -> dict[str, str]:
        """Return what a function holds that takes all calls."""
        states = [state for live, state in self._live() if live == name]
        assert len(states) == 1
        return self.values(states[0])

    # -- functions -----------------------------------------------------------------------------------------------------

    def _answer(self, request: httpx.Request) -> httpx.Response:
        candidate = request.url.host.startswith("candidate.")
        name = request.url.host.removeprefix("candidate.").removesuffix(".example")
        machine = self.machines[name]
        if machine.resources.get(Kind.CAPACITY, {}).get("stopped"):
            return httpx.Response(429)
        fingerprint = machine.candidate if candidate else next(iter(machine.live))
        if name in self.broken:
            return httpx.Response(500, json={"error": "broken"})
        return self._answered(name, self.values(self.states[fingerprint]), request)

    def _answered(self, name: str, values: Mapping[str, str], request: httpx.Request) -> httpx.Response:
        path = request.url.path
        try:
            match path.strip("/").split("/"):
                case ["healthz"]:
                    return httpx.Response(200, json={"ok": True})
                case ["tasks", _id] if name == ACTIONS:
                    auth = AuthSettings(
                        values[USERS], None, None, None, second_secret=values.get(USERS_SECOND)
                    )
                    UserTokens(auth).user_id(request.headers.get("Authorization"))
                case ["events", service, task] if name == EVENTS:
                    tokens = StreamTokens(values[STREAM], second=values.get(STREAM_SECOND), clock=time.time)
                    tokens.check(request.url.params.get("token"), service, task)
                case _ if path == probe_path(name):
                    return self._delivered(name, values, request)
        except AuthRequired:
            return httpx.Response(401, json={"error": "auth_required"})
        return httpx.Response(404, json={"error": "not_found"})

    def _delivered(self, name: str, values: Mapping[str, str], request: httpx.Request) -> httpx.Response:
        current, following = (values[each] for each in SIGNING_KEYS)
        if len(self.machines[name].live) > 1 and name in self.deaf_when_live:
            self.deaf.add(name)
        keys = SigningKeys(current, current if name in self.deaf else following)
        header = request.headers.get("Upstash-Signature")
        url = f"https://{name}.example{request.url.path}"
        try:
            verify_signature(header, request.content, url, keys)
        except SignatureError:
            return httpx.Response(401, json={"error": "bad_signature"})
        probe = parse_probe(request.content)
        assert probe is not None
        return httpx.Response(200, json=probe.answer(name))


def environment(**variables: str) -> Environment:
    return Environment(
        name="memory",
        file="memory.toml",
        provider=Platform.LOCAL,
        sluice_env=Env.STAGING,
        urls={name: f"https://{name}.example" for name in ELSEWHERE},
        variables={"QSTASH_URL": QSTASH_URL, "ALLOWED_ORIGINS": "https://app.example", **variables},
    )


def workspace(
    world: World,
    code: str = CODE,
    *,
    progress: Progress | None = None,
    variables: Mapping[str, str] | None = None,
) -> Workspace:
    """Open the environment, as another command does; waiting lets what is on its way arrive."""
    place = environment(**(variables or {})).model_copy(update={"protected": world.protected})
    return Workspace(
        place,
        place.specs({name: CATALOGUE[name] for name in NAMES}),
        world,
        who="ann",
        progress=progress or Quiet(),
        wait=world.wait,
        root=Path("/nowhere"),
        packages={name: Package(code, Path(code)) for name in NAMES},
        open_outside=world.outside,
    )


Opener = Callable[[str | None, str | None, Progress], AbstractContextManager[Workspace]]


def opener(world: World, **variables: str) -> Opener:
    """Return what opens this environment for the command, whatever name it is given."""

    @contextmanager
    def opened(_name: str | None, _emulate: str | None, progress: Progress) -> Iterator[Workspace]:
        yield workspace(world, progress=progress, variables=variables)

    return opened


def released() -> World:
    """Return an environment with its first release."""
    world = World()
    opened = workspace(world)
    opened.apply(opened.as_files_want, "apply")
    assert world.turned_away == []
    return world


def copied(world: World) -> World:
    """Return a world of its own, in the same state, with a count of writes that begins anew."""
    other = copy.deepcopy(world)
    other.writes.clear()
    other.shown.clear()
    return other


def killed(world: World, act: Callable[[World], object], at: int, *, after: bool) -> bool:
    """Do something, killed at a write, and free the lock as somebody does who sees it; tells whether it came so far."""
    world.kill_at, world.kill_after = at, after
    try:
        act(world)
    except Killed:
        return True
    finally:
        world.kill_at = None
        holder = read_lock(world.objects)
        if holder is not None:
            unlock(world.objects, holder.id)
    return False
