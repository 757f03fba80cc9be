"""`python -m deployment.providers.local FOLDER [SERVICES]`: the supervisor of the environment in that folder.

Started by commands when a write first needs it, in a session of its own; ends on SIGTERM, when it is told to,
or when the folder is removed. There is one for each folder at most: a second one finds the lock taken and
ends without a word.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import IO

from deployment.providers.local.control import Control, Endpoint
from deployment.providers.local.guard import Guard
from deployment.providers.local.layout import Layout
from deployment.providers.local.listener import Listener
from deployment.providers.local.outside import load_outside
from deployment.providers.local.supervisor import Supervisor

log = logging.getLogger("supervisor")
TAKING_SECONDS = 1.0
_POLL_SECONDS = 0.01


def main() -> int:
    """Supervise until told to end."""
    parser = argparse.ArgumentParser(prog="deployment.providers.local", description=__doc__)
    parser.add_argument("folder", type=Path, help="the environment's folder")
    parser.add_argument("services", nargs="?", help="the module that stands in for the world around it")
    options = parser.parse_args()
    layout = Layout(options.folder)
    with layout.supervisor_lock.open("w") as lock:
        if not _take(lock):
            return 0
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        _run(layout, options.services)
    return 0


def _take(lock: IO[str]) -> bool:
    """Take the lock, unless another supervisor holds it; whoever only looks holds it for a moment."""
    deadline = time.monotonic() + TAKING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _run(layout: Layout, services: str | None) -> None:
    with contextlib.ExitStack() as open_:
        guard = Guard()
        open_.callback(guard.close)
        open_.callback(layout.endpoint.unlink, missing_ok=True)
        if services:
            # Before the functions and until after them: they cannot do without it.
            open_.enter_context(load_outside(services).run(layout.services, guard.watch))
        asyncio.run(_supervise(layout, guard))


async def _supervise(layout: Layout, guard: Guard) -> None:
    supervisor = Supervisor(layout, guard)
    token = secrets.token_urlsafe(32)
    control = Control(supervisor, token)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, control.ended.set)
    listener = Listener(control)
    keeping = asyncio.create_task(supervisor.keep())
    keeping.add_done_callback(lambda _: control.ended.set())
    try:
        for problem in await supervisor.settle():
            log.error("%s: %s", problem.function, problem.text)
        # Only now: whoever finds it can rely on everything being there that was there before.
        Endpoint(os.getpid(), listener.port, token).write(layout.endpoint)
        await control.ended.wait()
        log.info("told to end")
    finally:
        keeping.cancel()
        await listener.close()
        await supervisor.close()


if __name__ == "__main__":
    raise SystemExit(main())
