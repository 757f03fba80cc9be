"""The commands that change what is deployed: plan, apply, rollback, releases, destroy."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.table import Table

from deployment.cli.building import build_packages
from deployment.cli.console import Terminal
from deployment.cli.watching import show_verification
from deployment.destruction import destroy
from deployment.environments import Environment
from deployment.errors import ProtectedEnvironment, Refused
from deployment.ledger import Release, find_release, releases
from deployment.plan_file import load_plan, plan_to_json, save_plan
from deployment.planner import Canary, state_changes
from deployment.rendering import summary_of
from deployment.rollback import check_secrets, previous_of
from deployment.steps import Plan
from deployment.workspace import Workspace

CHANGES = 2
"""The exit status that says there is something to do."""


def plan(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Show what an apply would do."""
    build_packages(workspace, terminal)
    with terminal.working(f"looking at {workspace.environment.name}"):
        made = workspace.plan(workspace.as_files_want, canary_of(workspace.environment, options))
    if options.out:
        save_plan(made, options.out)
    if terminal.as_json:
        terminal.answer(plan_to_json(made) | {"summary": summary_of(made)})
    else:
        terminal.show_plan(made)
    if options.out and not made.empty:
        terminal.note(f"Saved. Perform exactly this with: scripts/deploy.py apply {options.out}")
    return 0 if made.empty else CHANGES


def apply(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Bring the environment to what the files want, or perform a saved plan."""
    confirm(workspace.environment, options, terminal, "apply")
    build_packages(workspace, terminal)
    command = f"apply --env {workspace.environment.name}"
    if options.plan:
        if options.canary or options.wait is not None:
            raise Refused("--canary and --wait go with the making of a plan; a saved one says them itself.")
        saved = load_plan(options.plan)
        workspace.apply_saved(saved, command)
        done = [] if saved.empty else [saved]
    else:
        canary = canary_of(workspace.environment, options)
        done = workspace.apply(workspace.as_files_want, command, canary)
    summarise(workspace, done, terminal)
    return 0


def rollback(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Bring a former release back, whole: code, configuration, secrets' versions."""
    confirm(workspace.environment, options, terminal, "rollback")
    found = releases(workspace.provider.objects)
    asked = options.to is not None
    target = find_release(workspace.provider.objects, options.to) if asked else previous_of(found)
    if not options.present_secrets:
        check_secrets(workspace, target)
    terminal.note(f"Back to release {target.number} of {moment(target.at)}, by {target.who}.")
    want = workspace.as_released(target, present_secrets=options.present_secrets)
    done = workspace.apply(want, f"rollback --to {target.number}", canary_of(workspace.environment, options))
    table = workspace.verify()
    summarise(workspace, done, terminal, {"verification": table.to_json()})
    if not terminal.as_json:
        show_verification(table, terminal)
    return 0 if table.ok else 1


def list_releases(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Show who released what, when and of which code."""
    read = releases(workspace.provider.objects, options.limit + 1)  # one more, to tell what the last changed
    found, older = read[: options.limit], [*read[1:], None]
    if terminal.as_json:
        terminal.answer([release.to_json() for release in found])
        return 0
    if not found:
        terminal.say(f"Nothing has been released to {workspace.environment.name} yet.")
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("no.", "when", "who", "what", "git", "changed"):
        table.add_column(column, no_wrap=column in {"no.", "when"}, overflow="fold")
    for release, before in zip(found, older, strict=False):
        table.add_row(
            str(release.number),
            moment(release.at),
            release.who,
            release.note,
            release.revision,
            _changed(release, before),
        )
    terminal.say(table)
    return 0


def tear_down(workspace: Workspace, options: argparse.Namespace, terminal: Terminal) -> int:
    """Remove the environment from its provider."""
    name = workspace.environment.name
    if workspace.environment.protected:
        raise ProtectedEnvironment(
            f"{name} is protected: destroy is refused. Whoever means it takes `protected = true` out of "
            f"{workspace.environment.file} first, in a commit that others see."
        )
    if options.confirm != name:
        question = f"All functions, addresses and releases of {name} go. Its name, to confirm: "
        if not terminal.err.is_terminal or terminal.err.input(question).strip() != name:
            raise Refused(f"Nothing was removed. To confirm: destroy --env {name} --confirm {name}")
    removed = destroy(workspace, with_secrets=options.with_secrets, tell=terminal.note)
    if terminal.as_json:
        terminal.answer({"removed": removed})
    else:
        terminal.say(f"{name} is gone: {', '.join(removed) or 'there was nothing of it'}.")
    return 0


def confirm(environment: Environment, options: argparse.Namespace, terminal: Terminal, what: str) -> None:
    """Ask before a protected environment is changed: its name, typed, or given with `--confirm`."""
    if not environment.protected or options.confirm == environment.name:
        return
    if terminal.err.is_terminal:
        typed = terminal.err.input(f"{environment.name} is protected. Its name, to {what}: ")
        if typed.strip() == environment.name:
            return
    raise Refused(f"{environment.name} is protected: {what} with --confirm {environment.name}")


def canary_of(environment: Environment, options: argparse.Namespace) -> Canary:
    """Return how a release goes live: as the command says, else as the environment's file does."""
    percents = options.canary or environment.canary.percents
    wait = environment.canary.wait_seconds if options.wait is None else options.wait
    return Canary(percents, wait)


def summarise(
    workspace: Workspace, done: list[Plan], terminal: Terminal, more: dict[str, Any] | None = None
) -> None:
    """Say what was done, and where everything is."""
    observed = workspace.provider.observe(workspace.names)
    latest = workspace.past().latest
    if terminal.as_json:
        rounds = [plan_to_json(each) for each in done]
        terminal.answer(
            {
                "environment": workspace.environment.name,
                "release": latest,
                "urls": observed.urls,
                "done": rounds,
            }
            | (more or {})
        )
        return
    if done:
        terminal.say(f"{workspace.environment.name}: {'; then '.join(map(summary_of, done))}. Done.")
    else:
        terminal.say(f"{workspace.environment.name}: nothing to do, nothing was written.")
    terminal.say(f"Release {latest}:")
    for name, url in observed.urls.items():
        terminal.say(f"  {name:<12} {url}")


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _changed(release: Release, before: Release | None) -> str:
    if before is None:
        return "everything"
    changed = [
        f"{name} ({state.code[:12]})"
        for name, state in release.states.items()
        if state_changes(before.states.get(name), state)
    ]
    return ", ".join(changed) or "settings"
