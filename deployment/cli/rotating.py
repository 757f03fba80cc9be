"""The command `rotate-keys`."""

from __future__ import annotations

import argparse

from deployment.cli.console import Terminal
from deployment.cli.quantities import seconds_of
from deployment.cli.releasing import confirm
from deployment.cli.switching import read_value
from deployment.cli.watching import show_verification
from deployment.errors import Refused
from deployment.rotation.secrets import OURS_TO_MAKE, SECOND, SecretRotation
from deployment.rotation.signing_keys import IN_FLIGHT_SECONDS, SigningKeyRotation
from deployment.verification import Table
from deployment.workspace import QSTASH_TOKEN, Workspace


def rotate_keys(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Rotate QStash's signing keys, or another secret, without one refused message.

    Without --secret: QStash's signing keys are rolled, once both are known everywhere, and the new pair is
    brought everywhere. A rotation that was broken off is finished first, and nothing is rolled.
    """
    confirm(workspace.environment, options, terminal, "rotate keys")
    table = _rotate(workspace, options, terminal)
    if terminal.as_json:
        terminal.answer(table.to_json())
    else:
        show_verification(table, terminal)
        if options.secret in SECOND and not options.finish:
            terminal.say(_what_next(options.secret))
    return 0 if table.ok else 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `rotate-keys` takes."""
    parser.add_argument(
        "--secret",
        choices=[*SECOND, QSTASH_TOKEN],
        help="rotate this one; a value that others must know comes on standard input",
    )
    parser.add_argument(
        "--finish", action="store_true", help="with --secret: let the old one no longer be taken"
    )
    parser.add_argument("--now", action="store_true", help="with --finish: although it may still be in use")
    parser.add_argument(
        "--in-flight",
        type=seconds_of,
        default=IN_FLIGHT_SECONDS,
        metavar="SECONDS",
        help=f"how long a delivery signed before the roll may be on its way (default: {IN_FLIGHT_SECONDS:g})",
    )


def _rotate(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> Table:
    if options.secret is None:
        if options.finish or options.now:
            raise Refused("--finish and --now go with --secret: signing keys need no second call.")
        return SigningKeyRotation(workspace, terminal.note, options.in_flight).rotate()
    rotation = SecretRotation(workspace, terminal.note)
    if options.secret == QSTASH_TOKEN:
        if options.finish:
            raise Refused(
                f"--finish does not go with {QSTASH_TOKEN}: revoke the old one in QStash's console."
            )
        return rotation.token(read_value(QSTASH_TOKEN, terminal))
    if options.finish:
        return rotation.finish(options.secret, now=options.now)
    value = None if options.secret in OURS_TO_MAKE else read_value(options.secret, terminal)
    return rotation.begin(options.secret, value)


def _what_next(variable: str) -> str:
    if variable in OURS_TO_MAKE:
        return f"Once the tokens signed with the old one have ended: rotate-keys --secret {variable} --finish"
    return (
        "Both are taken now. Let the sign-in use the new one, wait until the old tokens have ended, "
        f"then: rotate-keys --secret {variable} --finish"
    )
