"""Removing an environment: the producer first, so that nobody is accepted whom no worker will serve."""

from __future__ import annotations

from collections.abc import Callable

from deployment.desired import in_order
from deployment.lock import locked
from deployment.names import secret_name
from deployment.workspace import Workspace


def destroy(workspace: Workspace, *, with_secrets: bool, tell: Callable[[str], None]) -> list[str]:
    """Remove all functions, the schedule and the store of packages and releases, and return what went.

    Secrets stay unless `with_secrets`: their values may be nowhere else. What carries no tag of ours is left
    alone. Killed in the middle, the same command goes on.

    Args:
        workspace: the environment.
        with_secrets: whether the secrets' values go too.
        tell: is told what goes now.
    """
    provider = workspace.provider
    there = workspace.observe()
    if not there.functions and there.schedule is None and not provider.objects.list(""):
        removed = _remove_rest(workspace, with_secrets=with_secrets)
        provider.objects.destroy()
        return removed
    provider.objects.ensure()
    with locked(provider.objects, f"destroy --env {workspace.environment.name}") as lock:
        removed = []
        schedule = workspace.schedule()
        if there.schedule is not None and schedule is not None:
            schedule.remove()
            removed.append("the sweep's schedule")
        for name in reversed(in_order(there.functions)):
            lock.check()
            tell(f"removing {name}")
            provider.remove(name)
            removed.append(name)
        removed += _remove_rest(workspace, with_secrets=with_secrets)
    provider.objects.destroy()
    return [*removed, "packages and releases"]


def _remove_rest(workspace: Workspace, *, with_secrets: bool) -> list[str]:
    """Remove what is left of functions that nobody can see any more, and the secrets if they go too."""
    for name in workspace.specs:
        workspace.provider.remove(name)
    return _remove_secrets(workspace) if with_secrets else []


def _remove_secrets(workspace: Workspace) -> list[str]:
    variables = {v for spec in workspace.specs.values() for v in spec.secrets}
    names = sorted({secret_name(workspace.environment, variable) for variable in variables})
    present = workspace.provider.secrets.describe(names)
    for name in present:
        workspace.provider.secrets.remove(name)
    return [f"{len(present)} secrets"] if present else []
