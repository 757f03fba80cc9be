"""The commands that only look: status, drift, verify."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from deployment.cli.console import Terminal
from deployment.ledger import Release, releases
from deployment.lock import read_lock
from deployment.plan_file import plan_to_json
from deployment.planner import WHOLE
from deployment.resources import Observed, ObservedFunction
from deployment.steps import Record
from deployment.stops import Stop
from deployment.verification import Table as Verification
from deployment.workspace import Workspace

DRIFTED = 2
"""The exit status that says somebody changed something by hand."""
ROLLED_ELSEWHERE = (
    "But QStash signs with a key that none of them takes: its keys were rolled more than once, and not here. "
    "Every delivery is refused. To mend it: rotate-keys"
)


def status(workspace: Workspace, _options: argparse.Namespace, terminal: Terminal) -> int:
    """Show what is there: addresses, what is live, who holds the lock, what is stopped."""
    with terminal.working(f"looking at {workspace.environment.name}"):
        observed = workspace.observe()
        found = releases(workspace.provider.objects, workspace.environment.releases.keep)
        stopped, holder = workspace.stopped(), read_lock(workspace.provider.objects)
    if terminal.as_json:
        terminal.answer(
            {
                "environment": workspace.environment.name,
                "release": found[0].number if found else None,
                "lock": holder.described() if holder else None,
                "schedule": dict(observed.schedule.properties) if observed.schedule else None,
                "functions": {
                    name: _function(observed.functions.get(name), stopped=name in stopped)
                    for name in workspace.names
                },
            }
        )
        return 0
    terminal.say(_status_table(workspace, observed, found, set(stopped)))
    _show_stops(stopped, terminal)
    terminal.say(f"release   {found[0].number if found else 'none yet'}")
    terminal.say(f"schedule  {_schedule(observed)}")
    terminal.say(f"lock      {f'{holder.described()} (id {holder.id})' if holder else 'free'}")
    return 0


def drift(workspace: Workspace, _options: argparse.Namespace, terminal: Terminal) -> int:
    """Compare what is there with what the newest release made of it."""
    with terminal.working(f"looking at {workspace.environment.name}"):
        newest = workspace.newest()
        made = workspace.plan(workspace.as_left(newest))
    changed = [step for step in made.steps if not isinstance(step, Record)]
    if terminal.as_json:
        terminal.answer(plan_to_json(made))
    elif changed:
        terminal.say(f"Not as release {newest.number} left it; an apply would bring it back:")
        terminal.show_plan(made)
    else:
        terminal.say(f"{workspace.environment.name} is as release {newest.number} left it.")
    _show_stops(workspace.stopped(), terminal)
    return DRIFTED if changed else 0


def verify(workspace: Workspace, _options: argparse.Namespace, terminal: Terminal) -> int:
    """Ask every deployed function everything that it must accept or refuse, and show the table.

    The probes are signed with the keys that the functions were given. Whether QStash signs with these too is
    asked of QStash.
    """
    with terminal.working(f"asking every function of {workspace.environment.name}"):
        table = workspace.verify()
    if not terminal.as_json:
        show_verification(table, terminal)
    pinned = workspace.pinned_keys()
    known = workspace.qstash().keys().current in {pinned.current, pinned.next}
    if terminal.as_json:
        terminal.answer(table.to_json() | {"ok": table.ok and known, "qstash_key_known": known})
    if not known:
        terminal.say(Text(ROLLED_ELSEWHERE, "red"))
    _show_stops(workspace.stopped(), terminal)
    return 0 if table.ok and known else 1


def show_verification(table: Verification, terminal: Terminal) -> None:
    """Show which function answered what, and every answer that is wrong in words."""
    terminal.say(table.to_rich())
    for cell in table.wrong:
        terminal.say(Text(cell.described(), "red"))
    terminal.say(
        "Every function takes what is signed for it, and nothing else." if table.ok else "NOT isolated."
    )


def _show_stops(stopped: Mapping[str, Stop], terminal: Terminal) -> None:
    for stop in stopped.values():
        terminal.say(f"{stop.function} was stopped by {stop.who}: {stop.why or 'no reason given'}")


def _status_table(workspace: Workspace, observed: Observed, found: list[Release], stopped: set[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("function", "state", "live", "address"):
        table.add_column(column, no_wrap=column in {"function", "state"}, overflow="fold")
    for name in workspace.names:
        there = observed.functions.get(name)
        if there is None:
            table.add_row(name, Text("absent", "dim"), "", "")
            continue
        state = Text("up", "green") if there.live else Text("empty", "yellow")
        live = ", ".join(_live(fingerprint, share, name, found) for fingerprint, share in there.live.items())
        table.add_row(name, Text("stopped", "bold red") if name in stopped else state, live, there.url or "")
    return table


def _live(fingerprint: str, share: int, name: str, found: list[Release]) -> str:
    """Return what is live, by the oldest release that it is still of: since then nothing has changed."""
    of = [r.number for r in found if name in r.states and r.states[name].fingerprint == fingerprint]
    shown = f"since release {min(of)}" if of else fingerprint
    return shown if share == WHOLE else f"{share} % {shown}"


def _function(there: ObservedFunction | None, *, stopped: bool) -> dict[str, Any] | None:
    if there is None:
        return None
    return {
        "url": there.url,
        "live": dict(there.live),
        "stopped": stopped,
        "revisions": [{"fingerprint": r.fingerprint, "id": r.id} for r in there.revisions],
    }


def _schedule(observed: Observed) -> str:
    if observed.schedule is None:
        return "none: nobody calls the sweep"
    properties = observed.schedule.properties
    return ", ".join(f"{name} {value}" for name, value in sorted(properties.items()))
