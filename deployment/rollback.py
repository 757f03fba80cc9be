"""Rolling back: which release, and whether QStash still signs with what that release knows.

A release pins the versions of its secrets, so that a rollback brings them back with code and configuration.
That is right for all of them but one case: signing keys that QStash has rolled away since. With those every
delivery would be refused, so such a rollback is refused instead, and `--present-secrets` is the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployment.errors import MissingSecret, Refused
from deployment.ledger import Release
from deployment.workspace import SIGNING_KEYS, Workspace


def previous_of(found: Sequence[Release]) -> Release:
    """Return the newest release that differs in code or configuration from what is live, given newest first.

    Raises:
        Refused: there is none.
    """
    for release in found[1:]:
        if release.states != found[0].states:
            return release
    raise Refused("There is no former release to go back to.")


def check_keys(workspace: Workspace, target: Release) -> None:
    """Return when the keys that a release pins include the one that QStash signs with.

    Raises:
        Refused: they do not, or their versions are gone.
    """
    now, then = (_pins(release) for release in (workspace.newest(), target))
    if now == then:
        return
    advice = (
        f"Roll back with the secrets that are in use now: rollback --to {target.number} --present-secrets"
    )
    try:
        pinned = workspace.pinned_keys(target)
    except MissingSecret as gone:
        raise Refused(f"Release {target.number} pins signing keys that are gone. {advice}") from gone
    if workspace.qstash().keys().current not in {pinned.current, pinned.next}:
        raise Refused(
            f"Release {target.number} knows only signing keys that QStash no longer signs with: "
            f"it would refuse every delivery. {advice}"
        )


def _pins(release: Release) -> set[object]:
    return {
        state.secrets[name]
        for state in release.states.values()
        for name in SIGNING_KEYS
        if name in state.secrets
    }
