"""The kill switch, the lock and the secrets: stop, start, unlock, secrets."""

from __future__ import annotations

import argparse
import sys
import time
import uuid

from rich.table import Table

from deployment.cli.console import Terminal
from deployment.errors import ProbeFailed, Refused
from deployment.ledger import releases
from deployment.lock import unlock
from deployment.names import secret_name
from deployment.resources import Kind
from deployment.stops import Stop, forget_stop, note_stop
from deployment.workspace import Workspace


def stop(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Let a function take no calls from now on; the others are not touched.

    It needs no lock: it must work while somebody deploys, and also when a deploy hangs.
    """
    function = _deployed(workspace, options.function)
    note_stop(workspace.provider.objects, Stop(function, workspace.who, round(time.time(), 3), options.why))
    _set_capacity(workspace, function, stopped=True)
    return _switched(workspace, function, "stopped", terminal)


def start(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Let a stopped function take calls again, and ask it whether it works.

    While it was stopped it could have been deployed to without anybody having asked it.
    """
    function = _deployed(workspace, options.function)
    forget_stop(workspace.provider.objects, function)
    _set_capacity(workspace, function, stopped=False)
    with terminal.working(f"asking {function}"):
        _probe(workspace, function)
    return _switched(workspace, function, "started", terminal)


def free_lock(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Free a lock whose holder is gone."""
    holder = unlock(workspace.provider.objects, options.id)
    if terminal.as_json:
        terminal.answer({"freed": holder.id, "held by": holder.described()})
    else:
        terminal.say(f"Free. It was held: {holder.described()}.")
    return 0


def list_secrets(workspace: Workspace, _options: argparse.Namespace, terminal: Terminal) -> int:
    """Show which secrets there are, who holds them, and which have no value; never a value."""
    holders: dict[str, list[str]] = {}
    optional: set[str] = set()
    for name, spec in workspace.specs.items():
        for variable in workspace.environment.secrets_of(spec):
            holders.setdefault(variable, []).append(name)
            optional |= {variable} & set(spec.optional_secrets)
    known = workspace.secrets()
    named = {
        variable: known.get(secret_name(workspace.environment, variable)) for variable in sorted(holders)
    }
    if terminal.as_json:
        terminal.answer(
            {v: {"current": s.current if s else None, "held by": holders[v]} for v, s in named.items()}
        )
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("secret", "version", "held by"):
        table.add_column(column, no_wrap=column != "held by")
    for variable, secret in named.items():
        absent = "none (optional)" if variable in optional else "NO VALUE"
        table.add_row(variable, secret.current if secret else absent, ", ".join(holders[variable]))
    terminal.say(table)
    return 0


def set_secret(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Give a secret a new value, read from standard input and shown nowhere."""
    variables = {v for spec in workspace.specs.values() for v in workspace.environment.secrets_of(spec)}
    if options.variable not in variables:
        raise Refused(
            f"No function of {workspace.environment.name} gets {options.variable} "
            f"(there are {', '.join(sorted(variables))})."
        )
    value = read_value(options.variable, terminal)
    name = secret_name(workspace.environment, options.variable)
    version = workspace.provider.secrets.put(name, value, request_id=uuid.uuid4().hex)
    if terminal.as_json:
        terminal.answer({"secret": name, "version": version})
    else:
        terminal.say(f"{name} has the version {version}. The next apply hands it to those who need it.")
    return 0


def read_value(variable: str, terminal: Terminal) -> str:
    """Read a secret's value from standard input; typed, it is not shown.

    Raises:
        Refused: there is none.
    """
    typed = sys.stdin.isatty()
    try:
        value = terminal.err.input(f"{variable}: ", password=True) if typed else sys.stdin.read()
    except UnicodeDecodeError as binary:
        raise Refused(f"{variable}: what was given on standard input is no text.") from binary
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise Refused(f"{variable}: nothing was given on standard input.")
    if not value.isprintable():
        raise Refused(f"{variable}: more than one line, or a control character, was given on standard input.")
    return value


def _deployed(workspace: Workspace, function: str) -> str:
    """Return a function's name when it is there: what is not cannot be switched."""
    if function not in workspace.specs:
        raise Refused(f"There is no function {function} (there are {', '.join(workspace.specs)}).")
    if function not in workspace.provider.observe([function]).functions:
        raise Refused(f"{function} has not been deployed to {workspace.environment.name}: apply first.")
    return function


def _probe(workspace: Workspace, function: str) -> None:
    """Ask a function what a candidate is asked, at its public address.

    Raises:
        ProbeFailed: it does not answer as it must.
    """
    for release in releases(workspace.provider.objects, newest=1):
        try:
            workspace.prober().probe(release.states[function], workspace.address_of(function))
        except ProbeFailed as failed:
            failed.add_note(f"{function} is started all the same; to stop it again: stop {function}")
            raise


def _set_capacity(workspace: Workspace, function: str, *, stopped: bool) -> None:
    wanted = workspace.provider.resources(workspace.specs[function], stopped=stopped)
    workspace.provider.ensure(function, Kind.CAPACITY, wanted[Kind.CAPACITY])


def _switched(workspace: Workspace, function: str, what: str, terminal: Terminal) -> int:
    if terminal.as_json:
        terminal.answer({"function": function, "state": what})
    else:
        terminal.say(f"{function} of {workspace.environment.name} is {what}. Nothing else was touched.")
    return 0
