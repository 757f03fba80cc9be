"""The process that reads one file: `python -I -S child.py KIND PATH…`, file on stdin, answer on stdout.

It bounds itself before it imports a parser, and ends by itself should whoever started it be gone. Whatever
goes wrong is an outcome; a death by a limit is told by the missing answer.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Sequence

MIB = 1024 * 1024
WALL_SECONDS = 5
LIMITS = (
    (resource.RLIMIT_AS, 400 * MIB),
    (resource.RLIMIT_CPU, 4),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
)
"""Address space, seconds of processor, open files, bytes written to a file, and of a memory dump."""


def bound() -> None:
    """Give this process its limits, for good."""
    signal.alarm(WALL_SECONDS)
    for limit, value in LIMITS:
        hard = resource.getrlimit(limit)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))


def main(kind: str, paths: Sequence[str]) -> None:
    """Answer one request; `paths` are where modules are found, for this Python looks nowhere itself."""
    bound()
    sys.path.extend(path for path in paths if path not in sys.path)
    from shared.actions.readers.reading import read

    sys.stdout.buffer.write(read(kind, sys.stdin.buffer.read()).to_bytes())
    sys.stdout.buffer.flush()
    os._exit(0)  # all is said; taking a large document apart would only take time


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
