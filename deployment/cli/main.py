"""The arguments of `scripts/deploy.py`, and what an error becomes: one message, never a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, TypeAlias

from deployment.cli import releasing, rotating, switching, watching
from deployment.cli.bundling import add_build
from deployment.cli.console import Terminal
from deployment.cli.opening import EMULATORS, end_emulator, opened
from deployment.cli.quantities import count_of, percents_of, seconds_of
from deployment.errors import DeployError
from deployment.plan_file import load_plan
from deployment.workspace import Workspace
from shared.errors import ConfigError

Command = Callable[[Workspace, argparse.Namespace, Terminal], int]
Opener = Callable[[str | None, str | None, Terminal], AbstractContextManager[Workspace]]
"""Opens an environment by its name and the cloud to imitate."""
INTERRUPTED = 130

EPILOG = """\
exit status:
  0  done, or nothing to do
  1  an error; wrong usage too
  2  there is something to do (plan), or somebody changed something by hand (drift)

A first time:  plan --env dev, apply --env dev, verify --env dev, and later destroy --env dev.
docs/deploy.md goes from nothing to production.
"""


Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"  # noqa: SLF001  # it has no public name


class _Parser(argparse.ArgumentParser):
    """Leaves with 1 where argparse leaves with 2: a typing error must not look like a plan with changes."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None, open_environment: Opener = opened) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    terminal = Terminal(as_json=getattr(options, "json", False))
    try:
        if options.standalone is not None:
            return int(options.standalone(options, terminal))
        name = options.env
        if getattr(options, "plan", None) is not None:
            name = name or load_plan(options.plan).environment
        with open_environment(name, options.emulate, terminal) as workspace:
            command: Command = options.run
            status = command(workspace, options, terminal)
            if options.emulate and options.command == "destroy" and status == 0:
                end_emulator(workspace, options.emulate)
            return status
    except (DeployError, ConfigError, OSError) as error:
        terminal.note(_told(error))
        return 1
    except KeyboardInterrupt:
        terminal.note("Interrupted. What is there can be seen with: status; go on with: apply.")
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = _Parser(
        prog="scripts/deploy.py",
        description="Build, deploy, verify and roll back the functions of infra/functions.toml.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument(
        "--emulate",
        choices=sorted(EMULATORS),
        help="imitate that cloud on this machine; needs no account, costs nothing",
    )
    whole.set_defaults(standalone=None)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    add_build(commands)
    _add_releasing(commands)
    _add_watching(commands)
    _add_switching(commands)
    _add_keys(commands)
    return whole


def _add_releasing(commands: Commands) -> None:
    plan = _command(commands, "plan", releasing.plan)
    plan.add_argument("--out", type=Path, metavar="FILE", help="save the plan, for: apply FILE")
    _add_canary(plan)
    apply = _command(commands, "apply", releasing.apply)
    apply.add_argument("plan", nargs="?", type=Path, metavar="FILE", help="a saved plan")
    _add_canary(apply)
    _add_confirm(apply)
    rollback = _command(commands, "rollback", releasing.rollback)
    rollback.add_argument("--to", type=int, metavar="RELEASE", help="its number (default: the one before)")
    rollback.add_argument(
        "--present-secrets", action="store_true", help="with the secrets' versions that are in use now"
    )
    _add_canary(rollback)
    _add_confirm(rollback)
    listed = _command(commands, "releases", releasing.list_releases)
    listed.add_argument(
        "--limit", type=count_of, default=20, metavar="N", help="show the newest N (default: 20)"
    )
    destroy = _command(commands, "destroy", releasing.tear_down)
    destroy.add_argument("--with-secrets", action="store_true", help="remove the secrets' values too")
    _add_confirm(destroy)


def _add_watching(commands: Commands) -> None:
    _command(commands, "status", watching.status)
    _command(commands, "drift", watching.drift)
    _command(commands, "verify", watching.verify)


def _add_switching(commands: Commands) -> None:
    stop = _command(commands, "stop", switching.stop)
    stop.add_argument("function", metavar="FUNCTION", help="such as paid_stream")
    stop.add_argument("--why", default="", metavar="TEXT", help="for those who look later")
    start = _command(commands, "start", switching.start)
    start.add_argument("function", metavar="FUNCTION", help="such as paid_stream")
    unlock = _command(commands, "unlock", switching.free_lock)
    unlock.add_argument("--id", required=True, help="the lock's id, as `status` and the refusal name it")


def _add_keys(commands: Commands) -> None:
    rotate = _command(commands, "rotate-keys", rotating.rotate_keys)
    rotating.add_arguments(rotate)
    _add_confirm(rotate)
    secrets = commands.add_parser("secrets", help="which there are, and new values")
    actions = secrets.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Parser)
    _command(actions, "list", switching.list_secrets)
    put = _command(actions, "set", switching.set_secret)
    put.add_argument(
        "variable", metavar="VARIABLE", help="such as GLM_API_KEY; the value comes on standard input"
    )


def _command(commands: Commands, name: str, run: Command) -> argparse.ArgumentParser:
    told = (run.__doc__ or "").strip()
    made = commands.add_parser(name, help=_first_line(told), description=told)
    made.add_argument("--env", metavar="NAME", help="the environment of infra/environments (default: dev)")
    made.add_argument("--json", action="store_true", help="one JSON document on standard output")
    made.set_defaults(run=run)
    return made


def _add_canary(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--canary", type=percents_of, metavar="10,50,100", help="lead calls over in parts, in per cent"
    )
    command.add_argument("--wait", type=seconds_of, metavar="SECONDS", help="how long between two parts")


def _add_confirm(command: argparse.ArgumentParser) -> None:
    command.add_argument("--confirm", metavar="NAME", help="the environment's name, in place of being asked")


def _first_line(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return (line[:1].lower() + line[1:]).removesuffix(".")


def _told(error: BaseException) -> str:
    notes: Sequence[str] = getattr(error, "__notes__", ())
    return "\n".join([f"deploy: {error}", *notes])
