"""`python -m devstack.clouds.gcp --state FOLDER`: the emulated Google Cloud as a process of its own.

It ends on SIGTERM or Ctrl-C, when its folder is removed, and when nobody has called it for a while.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from devstack.clouds.background import announced_until, surrounded
from devstack.clouds.gcp.emulated import BACKGROUND

DESCRIPTION = (
    "A Google Cloud on this machine: the APIs of Cloud Run, Cloud Storage, Secret Manager and IAM, and Cloud "
    "Run services that run what was uploaded. It listens on 127.0.0.1, on a free port; FOLDER/emulator.json "
    "says which."
)


def main() -> int:
    """Run until something ends it; returns the exit status."""
    return BACKGROUND.run(DESCRIPTION, _serve)


def _serve(folder: Path, ended: threading.Event, idle_seconds: float) -> None:
    from devstack.clouds.gcp.api.world import Pace
    from devstack.clouds.gcp.cloud import Cloud
    from devstack.clouds.gcp.gateway.addresses import Addresses
    from devstack.clouds.gcp.serving import Apis  # seconds of imports, which `--help` does without
    from devstack.serving import AppServer

    with surrounded(folder) as guard:
        cloud = Cloud(pace=Pace(operation_polls=0, account_calls=0, grant_checks=0))
        addresses = Addresses(cloud, folder, guard)
        apis = Apis(cloud, addresses)
        with AppServer(apis, name="gcp") as server:
            print(f"Google Cloud's APIs and Cloud Run's services at {server.origin}", flush=True)
            place = {"port": server.port}
            announced_until(folder, place, ended, lambda: time.time() - apis.used_at > idle_seconds)
            addresses.close()


if __name__ == "__main__":
    sys.exit(main())
