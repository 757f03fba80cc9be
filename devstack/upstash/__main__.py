"""`python -m devstack.upstash --port N --redis URL --token T`: the stand-in as a process of its own."""

from __future__ import annotations

import argparse
import signal
import threading

from devstack.upstash.server import UpstashStandIn


def main() -> None:
    """Serve until SIGINT or SIGTERM; the first line of the output says where."""
    parser = argparse.ArgumentParser(prog="devstack.upstash", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--redis", required=True, help="redis:// URL of the Valkey behind it")
    parser.add_argument("--token", required=True, help="the bearer token that clients must send")
    options = parser.parse_args()

    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ended.set())
    with UpstashStandIn(options.redis, token=options.token, port=options.port) as stand_in:
        print(f"Upstash stand-in on {stand_in.url}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
