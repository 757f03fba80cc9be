"""Run the stand-in alone: `python -m devstack.qstash --port 8080 --time-scale 0.01`."""

from __future__ import annotations

import argparse
import signal
import threading

from devstack.qstash.standin import QStashStandIn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devstack.qstash", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--time-scale", type=float, default=1.0, help="0.01: a wait of 12 s takes 0.12 s")
    parser.add_argument("--seed", type=int, help="makes ids repeatable")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with QStashStandIn(port=options.port, time_scale=options.time_scale, seed=options.seed) as qstash:
        keys = qstash.signing_keys
        print(f"QStash stand-in is running at {qstash.url}")
        print(f"QSTASH_URL={qstash.url}\nQSTASH_TOKEN={qstash.token}")
        print(f"QSTASH_CURRENT_SIGNING_KEY={keys.current}\nQSTASH_NEXT_SIGNING_KEY={keys.next}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
