"""The dev stack: everything Sluice needs on one machine, on free ports of 127.0.0.1, from start to clean end.

    with Stack(overrides={"LEASE_SECONDS": "2"}) as stack:
        httpx.get(stack.url("actions") + "/quota", headers=stack.authorization("ann"))

It boots an embedded Valkey and, in this process, the stand-ins for QStash, the LLM providers and
(`store="rest"`) Upstash's REST API; it builds the seven bundles and runs each as a process of its own, with
nothing but the variables that the catalogue gives it. Secrets are made for each run. Leaving the context ends
all of it, whatever happened.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
import jwt

from deployment.bundles.staging import BUILD_FOLDER, stage
from deployment.catalogue import load_catalogue
from devstack.environment import Rest, Wiring, environment_of
from devstack.gauges import Gauges, read_gauges
from devstack.llm import LlmStandIn
from devstack.processes import START_SECONDS, STOP_SECONDS, FunctionProcess, StackError, free_ports
from devstack.proxy import Front, RedisProxy, WakingFront
from devstack.qstash import QStashStandIn
from devstack.upstash.server import UpstashStandIn
from devstack.valkey import EmbeddedValkey
from shared.config import (
    ConcurrencyConfig,
    RedisSettings,
    SigningKeys,
    get_concurrency_config,
    load_reconciliation,
)
from shared.state.reconciliation import Report, reconcile
from shared.state.store import Store, open_store

TOKEN_SECONDS = 12 * 3600


def _qstash(time_scale: float) -> QStashStandIn:
    return QStashStandIn(
        time_scale=time_scale,
        token=secrets.token_urlsafe(32),
        signing_keys=SigningKeys(f"sig_{secrets.token_urlsafe(24)}", f"sig_{secrets.token_urlsafe(24)}"),
    )


class Stack:
    """The running stack; `valkey`, `qstash`, `llm` and `upstash` are its stand-ins, to cause faults with."""

    valkey: EmbeddedValkey
    qstash: QStashStandIn
    llm: LlmStandIn
    upstash: UpstashStandIn | None = None
    proxy: RedisProxy | None = None

    def __init__(
        self,
        *,
        store: Literal["tcp", "rest"] = "tcp",
        proxied: bool = False,
        persistent: bool = False,
        fronted: Sequence[str] = (),
        sleeping: Iterable[str] = (),
        overrides: Mapping[str, str] | None = None,
        provider_environment: Mapping[str, str] | None = None,
        allowed_origins: Sequence[str] = (),
        qstash_time_scale: float = 1.0,
        first_token_ms: float = 200,
        tokens_per_second: float = 50,
        build_folder: Path = BUILD_FOLDER,
    ) -> None:
        """Prepare a stack; entering it boots it.

        Args:
            store: how `actions` and the lanes reach Redis: over TCP, or by Upstash's REST protocol.
            proxied: whether everything reaches Redis through `proxy`, which fails on command.
            persistent: whether Redis still has its data after `valkey.restart()`.
            fronted: functions whose address stays when another instance takes over from the one behind it.
            sleeping: functions that start with their first call, as on a cloud that has scaled them to none.
            overrides: variables of design §8 with other values, for every function that takes them.
            provider_environment: where DEEPSEEK_API_KEY and GLM_API_KEY may stand: a provider whose key is
                there is called for real, the others are the stand-in.
            allowed_origins: the origins of pages that may call `actions` and `events`.
            qstash_time_scale: by what QStash's delays are multiplied.
            first_token_ms: how long the LLM stand-in thinks.
            tokens_per_second: how fast it then talks.
            build_folder: where the bundles are staged; logs go to its folder `logs`.

        Raises:
            StackError: `overrides` names a variable that no function takes.
        """
        self._catalogue = load_catalogue()
        self._overrides = dict(overrides or {})
        known = {name for spec in self._catalogue.values() for name in spec.environment_names}
        if unknown := self._overrides.keys() - known:
            raise StackError(f"no function takes {', '.join(sorted(unknown))}")
        self._store_kind = store
        self._proxied = proxied
        self._persistent = persistent
        self._fronted = tuple(fronted)
        self._asleep = set(sleeping)
        self._waking = {name: threading.Lock() for name in self._catalogue}
        self._provider_environment = provider_environment or {}
        self._allowed_origins = tuple(allowed_origins)
        self._time_scale = qstash_time_scale
        self._pace = (first_token_ms, tokens_per_second)
        self._build_folder = build_folder
        self._jwt_secret = secrets.token_urlsafe(32)
        self.ops_token = secrets.token_urlsafe(32)
        self._functions: dict[str, FunctionProcess] = {}
        self._standing_by: dict[str, FunctionProcess] = {}
        self._former: list[FunctionProcess] = []
        self._fronts: dict[str, Front] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def log_folder(self) -> Path:
        return self._build_folder / "logs"

    @property
    def functions(self) -> tuple[str, ...]:
        """Return the names of all functions, in the catalogue's order."""
        return tuple(self._catalogue)

    @property
    def limits(self) -> ConcurrencyConfig:
        return get_concurrency_config(self._overrides)

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def url(self, name: str) -> str:
        """Return the base URL of a function."""
        return self._wiring.url(name)

    def user_token(self, sub: str) -> str:
        """Return a user's token, as the product's sign-in would."""
        now = int(time.time())
        claims = {"sub": sub, "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims, self._jwt_secret, algorithm="HS256")

    def authorization(self, sub: str) -> dict[str, str]:
        """Return the header with which a user calls `actions`."""
        return {"Authorization": f"Bearer {self.user_token(sub)}"}

    def open_store(self) -> Store:
        """Return a connection of the caller's own to the stack's Redis; the caller closes it."""
        return open_store(RedisSettings(self.redis_url))

    def gauges(self) -> Gauges:
        """Read what is queued and running now."""
        with contextlib.closing(self.open_store()) as store:
            return read_gauges(store, self.limits)

    def reconcile(self) -> Report:
        """Compare what Redis holds with the task records, as `sluice reconcile` does; repairs nothing."""
        settings = load_reconciliation({"REDIS_URL": self.redis_url, **self._overrides})
        with contextlib.closing(self.open_store()) as store:
            return reconcile(
                store, concurrency=settings.concurrency, time=settings.time, stream=settings.stream
            )

    def pid(self, name: str) -> int | None:
        """Return the process id of a function's server, None when it does not run."""
        return self._functions[name].pid

    def log(self, name: str) -> str:
        """Return what a function has logged in this run."""
        return self._functions[name].log_file.read_text(encoding="utf-8", errors="replace")

    def kill(self, name: str) -> None:
        """Kill a function with all it was doing, as `kill -9` does; one that sleeps stays away, too."""
        with self._waking[name]:
            self._asleep.discard(name)
            self._functions[name].kill()

    def restart(self, name: str) -> None:
        """Start a function again at its address, after `kill` or while it runs."""
        self.kill(name)
        function = self._functions[name]
        function.start()
        function.wait_ready(time.monotonic() + START_SECONDS)

    def freeze(self, name: str) -> FunctionProcess:
        """Stop a function as a paused machine stops, and return its process, to `thaw` it later."""
        self._wake(name)
        self._functions[name].freeze()
        return self._functions[name]

    def front(self, name: str) -> Front:
        """Return a fronted function's public address, whose network can be cut."""
        return self._fronts[name]

    def stand_by(self, name: str) -> None:
        """Start another instance of a fronted function, without waiting until it listens."""
        self._standing_by[name] = self._new_process(name, free_ports(1)[0])
        self._standing_by[name].start()

    def take_over(self, name: str) -> FunctionProcess:
        """Lead a fronted function's address to the instance that stands by; returns the former, as it is.

        Connections to the former are cut: whoever waited for its answer learns that there will be none.
        """
        former, successor = self._functions[name], self._standing_by.pop(name)
        successor.wait_ready(time.monotonic() + START_SECONDS)
        self._functions[name] = successor
        self._former.append(former)
        self._fronts[name].lead_to(successor.port)
        return former

    def _boot(self) -> None:
        # What ends last is entered first: Redis outlives the functions, and those outlive whoever calls them.
        home = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="sluice-")))
        self.valkey = self._open.enter_context(EmbeddedValkey(persistent=self._persistent))
        if self._proxied:
            self.proxy = self._open.enter_context(RedisProxy(self.valkey.port))
        if self._store_kind == "rest":
            self.upstash = self._open.enter_context(
                UpstashStandIn(self._functions_redis_url, token=secrets.token_urlsafe(32))
            )
        self._open.callback(self._stop_functions)
        first_token_ms, tokens_per_second = self._pace
        self.llm = self._open.enter_context(
            LlmStandIn(first_token_ms=first_token_ms, tokens_per_second=tokens_per_second)
        )
        self.qstash = self._open.enter_context(_qstash(self._time_scale))
        self._start_functions(home)
        self._schedule_sweep()

    @property
    def _functions_redis_url(self) -> str:
        return self.proxy.url if self.proxy else self.valkey.url

    def _wire(self, home: Path) -> Wiring:
        return Wiring(
            redis_url=self._functions_redis_url,
            rest=Rest(self.upstash.url, self.upstash.token) if self.upstash else None,
            qstash_url=self.qstash.url,
            qstash_token=self.qstash.token,
            signing_keys=self.qstash.signing_keys,
            llm_base_url=self.llm.base_url,
            ports=self._ports | {name: front.port for name, front in self._fronts.items()},
            blob_folder=home / "blobs",
            jwt_secret=self._jwt_secret,
            stream_token_secret=secrets.token_urlsafe(32),
            ops_token=self.ops_token,
            allowed_origins=self._allowed_origins,
            provider_environment=self._provider_environment,
            overrides=self._overrides,
        )

    def _start_functions(self, home: Path) -> None:
        self._home = home
        self._ports = dict(zip(self._catalogue, free_ports(len(self._catalogue)), strict=True))
        for name in {*self._fronted, *self._asleep}:
            self._fronts[name] = self._open.enter_context(self._front_of(name))
        self._wiring = self._wire(home)
        self._wiring.blob_folder.mkdir()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        self._bundles = {b.name: b.folder for b in stage(self._catalogue.values(), self._build_folder)}
        for name, port in self._ports.items():
            self._log_file(name).write_bytes(b"")
            self._functions[name] = self._new_process(name, port)
        awake = [function for name, function in self._functions.items() if name not in self._asleep]
        for function in awake:
            function.start()
        deadline = time.monotonic() + START_SECONDS
        for function in awake:
            function.wait_ready(deadline)

    def _front_of(self, name: str) -> Front:
        if name in self._asleep:
            return WakingFront(name=f"front-{name}", wake=partial(self._wake, name))
        return Front(self._ports[name], name=f"front-{name}")

    def _wake(self, name: str) -> int:
        """Start a function that sleeps, any other stays as it is; returns its port, where it listens."""
        with self._waking[name]:
            if name in self._asleep:
                # At a port that is free now: the one of the beginning may have gone to somebody since.
                self._functions[name] = self._new_process(name, free_ports(1)[0])
                self._functions[name].start()
                self._functions[name].wait_ready(time.monotonic() + START_SECONDS)
                self._asleep.remove(name)
        return self._functions[name].port

    def _new_process(self, name: str, port: int) -> FunctionProcess:
        own_home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._home))
        return FunctionProcess(
            name,
            bundle=self._bundles[name],
            port=port,
            environment=environment_of(self._catalogue[name], self._wiring, own_home),
            log_file=self._log_file(name),
        )

    def _log_file(self, name: str) -> Path:
        return self.log_folder / f"{name}.log"

    def _schedule_sweep(self) -> None:
        minutes = max(1, round(float(self._overrides.get("SWEEP_MINUTES", "5"))))
        destination = f"{self.url('actions')}/callbacks/sweep"
        httpx.post(
            f"{self.qstash.url}/v2/schedules/{destination}",
            headers={
                "Authorization": f"Bearer {self.qstash.token}",
                "Upstash-Cron": f"*/{minutes} * * * *",
            },
        ).raise_for_status()

    def _stop_functions(self) -> None:
        for name, waking in self._waking.items():
            with waking:  # one that is starting comes to its feet first, and no other starts any more
                self._asleep.discard(name)
        everyone = [*self._functions.values(), *self._standing_by.values(), *self._former]
        for function in everyone:
            function.thaw()  # one that is frozen would not hear
            function.request_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for function in everyone:
            function.wait_stopped(deadline)
