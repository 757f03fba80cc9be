"""`python -m devstack.soak`: minutes of traffic and faults, then the invariants; 0 only if all held."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from rich.console import Console

from deployment.bundles.staging import BUILD_FOLDER, BuildError
from devstack.processes import StackError
from devstack.soak.drawing import draw_plan
from devstack.soak.report import print_report, write_json
from devstack.soak.run import soak, stack_for_soak
from devstack.soak.screen import screen_on

LOG_COLUMNS = 160
MAX_SEED = 100_000
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a soak and return its exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    plan = draw_plan(options.seed, options.minutes * 60)
    console.print(
        f"soak: seed {plan.seed}, schedule {plan.digest}: {plan.users} users, {len(plan.acts)} acts, "
        f"{len(plan.faults)} faults in {options.minutes:g} min; Ctrl-C ends the traffic, and all is checked",
        highlight=False,
    )
    interrupted = _interruptible()
    try:
        with stack_for_soak(options.build_folder) as stack:
            outcome = soak(stack, plan, interrupted, screen_on(console))
            print_report(outcome, console)
            file = write_json(outcome, options.build_folder / "soak")
            console.print(f"all of it: {file}", highlight=False, soft_wrap=True)
    except (StackError, BuildError) as error:
        console.print(f"soak: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("soak: broken off; everything it started has been ended")
        return INTERRUPTED
    return 0 if outcome.held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="of traffic and faults")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(MAX_SEED), help="replays a schedule")
    parser.add_argument(
        "--build-folder", type=Path, default=BUILD_FOLDER, help="where bundles, logs and findings go"
    )
    return parser


def _interruptible() -> threading.Event:
    """Return what the first Ctrl-C sets; the second breaks everything off, and further ones are ignored."""
    interrupted = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not interrupted.is_set():
            interrupted.set()
            return
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return interrupted


if __name__ == "__main__":
    sys.exit(main())
