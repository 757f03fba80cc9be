"""`python -m devstack.llm --port N`: the LLM stand-in on its own."""

from __future__ import annotations

import argparse

from devstack.llm.replies import Pace
from devstack.llm.standin import serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="devstack.llm", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--first-token-ms", type=float, default=200.0)
    parser.add_argument("--tokens-per-second", type=float, default=50.0)
    args = parser.parse_args()
    serve(args.port, Pace(args.first_token_ms, args.tokens_per_second))


if __name__ == "__main__":
    main()
