"""A real small model behind all four model names: `make up LLM=local`.

    prepare (.venv-llm) ─▶ llama_cpp.server, a process of its own ─▶ LocalFront ─▶ the lanes

SmolLM2 with 135 million parameters, from packages alone, on the processor. It proves that the lanes work with
something that really generates; its advice is worthless. `docs/local-model.md` says what to expect.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from devstack.llm.local_front import Front, LocalFront
from devstack.llm.local_setup import LocalFiles
from devstack.processes import STOP_SECONDS, StackError, free_ports
from shared.routing import Provider

CONTEXT_TOKENS = 8_192
START_SECONDS = 120.0
VARIABLES: Mapping[str, str] = {
    "DEEPSEEK_JSON_MODE": "grammar",
    "GLM_JSON_MODE": "grammar",
    # One model on two cores does one thing at a time: more slots would only move the waiting into attempts.
    "DEEPSEEK_MAX_WORKERS": "1",
    "GLM_MAX_WORKERS": "1",
    "WORKER_TIMEOUT_SECONDS": "900",
}
"""What functions that call the local model are configured with, unless told otherwise."""
_REPORT_SECONDS = 5.0
_POLL_SECONDS = 0.1
_LOG_TAIL_BYTES = 2_000


def server_command(files: LocalFiles, port: int) -> list[str]:
    """Return how the model's server is started."""
    options = {
        "model": files.model,
        "model_alias": "local",
        "host": "127.0.0.1",
        "port": port,
        "n_ctx": CONTEXT_TOKENS,
        "interrupt_requests": "False",  # by default a second request breaks off the first
        "verbose": "False",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [str(files.python), "-m", "llama_cpp.server", *arguments]


class LocalModel:
    """The model's server and its front, from start to end; a context manager."""

    def __init__(self, files: LocalFiles, log_file: Path, report: Callable[[str], None]) -> None:
        self._files = files
        self._log_file = log_file
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._open = contextlib.ExitStack()
        self.upstream = ""
        """The server itself, without its front."""
        self.base_url = ""
        """What a lane takes for the provider's base URL, once it runs."""

    @property
    def pid(self) -> int | None:
        """Return the server's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def provider_environment(self) -> dict[str, str]:
        """Return the variables that send all providers' models here."""
        return {
            name: value
            for provider in Provider
            for name, value in (
                (f"{provider.upper()}_API_KEY", "local"),
                (f"{provider.upper()}_BASE_URL", self.base_url),
            )
        }

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _start(self) -> None:
        home = self._open.enter_context(tempfile.TemporaryDirectory(prefix="sluice-llm-"))
        [port] = free_ports(1)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        self._report(f"starting {self._files.model.name}")
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own environment's interpreter
                server_command(self._files, port),
                env={"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._open.callback(self._stop)
        self.upstream = f"http://127.0.0.1:{port}"
        self._wait_ready()
        self.base_url = self._open.enter_context(LocalFront(Front(self.upstream, CONTEXT_TOKENS))).base_url

    def _wait_ready(self) -> None:
        started = reported = time.monotonic()
        while not _answers(f"{self.upstream}/v1/models"):
            now = time.monotonic()
            if self.pid is None:
                raise StackError(f"the local model ended at its start:\n{self._log_tail()}")
            if now - started > START_SECONDS:
                raise StackError(f"the local model does not answer:\n{self._log_tail()}")
            if now - reported > _REPORT_SECONDS:
                reported = now
                self._report(f"  {now - started:.0f} s: the model is being loaded")
            time.sleep(_POLL_SECONDS)

    def _stop(self) -> None:
        """End the server, by force when it is in the middle of a text."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def _log_tail(self) -> str:
        return self._log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
