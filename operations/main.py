"""The program `scripts/sluice`: finds a command, runs it, turns each failure into a line and a status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from operations import (
    dead_letters,
    limits,
    quota,
    reconciling,
    replay,
    status,
    story,
    switches,
    tasks,
    usage,
)
from operations.calling import NotDone
from shared.errors import ConfigError, SluiceError

COMMANDS = (status, tasks, story, usage, limits, switches, dead_letters, replay, quota, reconciling)
STATUSES = (
    "Exit status: 0 done; 1 refused, not found, or something differs; "
    "2 wrong usage or configuration; 3 no answer, of Redis or of actions."
)
Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # argparse itself would show the program's usage, not the command's
        options.wrong_usage(f"unrecognized arguments: {' '.join(unknown)}")
    run: Run = options.run
    try:
        return run(options)
    except ConfigError as error:
        return _fail(options, 2, str(error))
    except NotDone as refused:
        return _fail(options, 1, str(refused))
    except SluiceError as error:
        return _fail(options, 3, f"{error} {options.after_failure}".rstrip())
    except KeyboardInterrupt:
        return _fail(options, 130, options.after_interrupt)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _fail(options: argparse.Namespace, exit_status: int, message: str) -> int:
    print(f"{options.command}: {message}", file=sys.stderr)
    return exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/sluice",
        description="Look at a running Sluice, and mend what can be mended. Takes from the environment "
        "REDIS_URL, or Upstash's pair of REST variables, and the limits and durations that the functions "
        "run with, where these are not the defaults.",
        epilog=STATUSES,
    )
    parser.set_defaults(after_failure="", after_interrupt="stopped")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    for added in commands.choices.values():
        added.set_defaults(wrong_usage=added.error)
    return parser
