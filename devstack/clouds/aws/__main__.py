"""`python -m devstack.clouds.aws --state FOLDER`: the emulated AWS as a process of its own.

It ends on SIGTERM or Ctrl-C, when its folder is removed, and when nobody has called it for a while.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.clouds.aws.emulated import BACKGROUND
from devstack.clouds.background import announced_until, surrounded

if TYPE_CHECKING:
    from devstack.clouds.aws.gateway.serving import Gateway

DESCRIPTION = (
    "An AWS on this machine: Lambda, IAM, S3, Secrets Manager, CloudWatch Logs, STS, and function URLs that "
    "run what was uploaded. It listens on 127.0.0.1, on free ports; FOLDER/emulator.json says where."
)


def main() -> int:
    """Run until something ends it; returns the exit status."""
    return BACKGROUND.run(DESCRIPTION, _serve)


def _serve(folder: Path, ended: threading.Event, idle_seconds: float) -> None:
    from devstack.clouds.aws.gateway.serving import Gateway
    from devstack.clouds.aws.server import moto_server  # seconds of imports, which `--help` does without

    # moto has forgotten everything with its last process; what was remembered of it is void.
    (folder / "strict.json").unlink(missing_ok=True)
    with surrounded(folder), moto_server() as endpoint, Gateway(folder, endpoint) as gateway:
        print(f"AWS services at {endpoint}, function URLs at 127.0.0.1:{gateway.port}", flush=True)
        place = {"endpoint": endpoint, "gateway_port": gateway.port}
        announced_until(folder, place, ended, lambda: _idle_seconds(folder, gateway) > idle_seconds)


def _idle_seconds(folder: Path, gateway: Gateway) -> float:
    """Return for how long nobody has made a call or followed a URL."""
    try:
        called_at = (folder / "strict.json").stat().st_mtime
    except FileNotFoundError:
        called_at = gateway.started_at
    return time.time() - max(called_at, gateway.used_at)


if __name__ == "__main__":
    sys.exit(main())
