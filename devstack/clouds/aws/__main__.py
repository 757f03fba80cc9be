"""`python -m devstack.clouds.aws --state FOLDER`: the emulated AWS as a process of its own.

It ends on SIGTERM or Ctrl-C, when its folder is removed, and when nobody has called it for a while.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.clouds.aws.emulated import EmulatorError, Place, announce, holding

if TYPE_CHECKING:
    from devstack.clouds.aws.gateway.serving import Gateway

SERVICES = "services"
"""The folder of Redis, QStash and the models, which its functions reach besides AWS."""
_LOOK_SECONDS = 0.5
_IDLE_SECONDS = 3600.0


def main() -> int:
    """Run until something ends it; returns the exit status."""
    arguments = _parser().parse_args()
    folder = Path(arguments.state).resolve()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with holding(folder):
            _serve(folder, ended, arguments.idle_seconds)
    except EmulatorError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(folder: Path, ended: threading.Event, idle_seconds: float) -> None:
    from deployment.providers.local.guard import Guard
    from devstack import services
    from devstack.clouds.aws.gateway.serving import Gateway
    from devstack.clouds.aws.server import moto_server  # seconds of imports, which `--help` does without

    # moto has forgotten everything with its last process; what was remembered of it is void.
    (folder / "strict.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as open_:
        guard = Guard()
        open_.callback(guard.close)
        open_.enter_context(services.run(folder / SERVICES, guard.watch))
        endpoint = open_.enter_context(moto_server())
        gateway = open_.enter_context(Gateway(folder, endpoint))
        place = Place(os.getpid(), endpoint, gateway.port)
        announce(folder, place)
        print(f"AWS services at {endpoint}, function URLs at 127.0.0.1:{gateway.port}", flush=True)
        while not ended.wait(_LOOK_SECONDS):
            if not (folder / "emulator.json").exists() or _idle_seconds(folder, gateway) > idle_seconds:
                break
    (folder / "emulator.json").unlink(missing_ok=True)


def _idle_seconds(folder: Path, gateway: Gateway) -> float:
    """Return for how long nobody has made a call or followed a URL."""
    try:
        called_at = (folder / "strict.json").stat().st_mtime
    except FileNotFoundError:
        called_at = gateway.started_at
    return time.time() - max(called_at, gateway.used_at)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.clouds.aws",
        description="An AWS on this machine: Lambda, IAM, S3, Secrets Manager, CloudWatch Logs, STS, and "
        "function URLs that run what was uploaded. It listens on 127.0.0.1, on free ports; "
        "FOLDER/emulator.json says where.",
    )
    parser.add_argument(
        "--state", required=True, metavar="FOLDER", help="where it keeps its state and its logs"
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=_IDLE_SECONDS,
        help="end when nobody has called it for so long (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
