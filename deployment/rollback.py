"""Rolling back: which release, and whether QStash still knows what that release knows.

A release pins the versions of its secrets, so that a rollback brings them back with code and configuration.
That is right for all of them but two cases: signing keys that QStash has rolled away since, with which every
delivery would be refused, and a token that has been revoked, with which nothing could be published. Such a
rollback is refused instead, and `--present-secrets` is the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployment.errors import MissingSecret, ProviderError, Refused
from deployment.ledger import Release
from deployment.qstash import Unreachable
from deployment.states import SecretPin
from deployment.workspace import QSTASH_TOKEN, SIGNING_KEYS, Workspace


def previous_of(found: Sequence[Release]) -> Release:
    """Return the newest release that differs in code or configuration from what is live, given newest first.

    Raises:
        Refused: there is none.
    """
    for release in found[1:]:
        if release.states != found[0].states:
            return release
    raise Refused("There is no former release to go back to.")


def check_secrets(workspace: Workspace, target: Release) -> None:
    """Return when QStash still takes a release's token, and still signs with a key that the release pins.

    Raises:
        Refused: it does not, or versions of them are gone.
        ProviderError: QStash cannot be asked.
    """
    now = workspace.newest()
    advice = (
        f"Roll back with the secrets that are in use now: rollback --to {target.number} --present-secrets"
    )
    try:
        if _pins(now, SIGNING_KEYS) != _pins(target, SIGNING_KEYS):
            _check_keys(workspace, target, advice)
        if _pins(now, [QSTASH_TOKEN]) != _pins(target, [QSTASH_TOKEN]):
            _check_token(workspace, target, advice)
    except MissingSecret as gone:
        raise Refused(f"Release {target.number} pins secrets that are gone. {advice}") from gone
    except Unreachable as away:
        away.add_note(f"So nobody knows whether it takes what release {target.number} pins. {advice}")
        raise


def _check_keys(workspace: Workspace, target: Release, advice: str) -> None:
    pinned = workspace.pinned_keys(target)
    if workspace.qstash().keys().current not in {pinned.current, pinned.next}:
        raise Refused(
            f"Release {target.number} knows only signing keys that QStash no longer signs with: "
            f"it would refuse every delivery. {advice}"
        )


def _check_token(workspace: Workspace, target: Release, advice: str) -> None:
    for pin in _pins(target, [QSTASH_TOKEN]):
        try:
            workspace.qstash(token=workspace.provider.secrets.read(pin)).keys()
        except Unreachable:
            raise
        except ProviderError as revoked:
            raise Refused(
                f"QStash does not take the token of release {target.number} any more: "
                f"it could publish nothing. {advice}"
            ) from revoked


def _pins(release: Release, variables: Sequence[str]) -> set[SecretPin]:
    return {
        state.secrets[name]
        for state in release.states.values()
        for name in variables
        if name in state.secrets
    }
