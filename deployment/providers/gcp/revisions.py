"""Revisions: found, published without calls being led to them, removed.

A revision is found by its name, which holds the fingerprint: `<service>-<fingerprint>`. Labels would not do,
since whoever changes a service by hand makes a revision with the last one's labels; but Cloud Run gives it
a name of its own. A name is never free again, so that a state whose revision failed has another turn under
`…-r1`, `…-r2`.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Final

from google.cloud.run_v2 import RevisionsClient
from google.cloud.run_v2.types import (
    Condition,
    DeleteRevisionRequest,
    ListRevisionsRequest,
    Revision,
    RevisionTemplate,
    Service,
)

from deployment.errors import ProviderError, Refused, WorldMoved
from deployment.providers.gcp.calls import ONCE
from deployment.providers.gcp.led import led_by
from deployment.providers.gcp.services import OperationFailed, Services, short
from deployment.providers.gcp.template import is_made_of
from deployment.resources import Revision as Known

PLACEHOLDER: Final = "placeholder"
_READY = "Ready"
_FAILED = Condition.State.CONDITION_FAILED
_FIELDS: Final = ("template", "traffic")
_NO_SECRETS = Condition.CommonReason.SECRETS_ACCESS_CHECK_FAILED
TURNS: Final = 6
"""Turns that a revision is given while not all of Google knows that its account may read its secrets."""
TURN_SECONDS: Final = 15.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Revisions:
    """The revisions of an environment's services."""

    client: RevisionsClient
    services: Services

    def all_of(self, name: str) -> list[Known]:
        """Return a service's revisions but for the placeholder, the oldest first.

        One that is not ready has no fingerprint: it is none that could be used again.
        """
        names = self.services.names
        return [
            Known(
                fingerprint=names.fingerprint_in(name, short(each.name)) if is_ready(each) else "",
                id=short(each.name),
                number=_number(each),
            )
            for each in self._listed(name)
            if not self.is_placeholder(name, short(each.name))
        ]

    def is_placeholder(self, name: str, revision: str) -> bool:
        return revision == self.placeholder(name)

    def placeholder(self, name: str) -> str:
        return f"{self.services.names.service(name)}-{PLACEHOLDER}"

    def publish(self, name: str, fingerprint: str, template: RevisionTemplate) -> None:
        """Make the revision of a state, if there is none; no calls are led to it.

        Raises:
            ProviderError: it does not become ready; the text is Cloud Run's.
            WorldMoved: somebody else changes the service at the same time.
            Refused: the service leads nowhere, so that a first revision would go live unasked.
        """
        for turn in range(TURNS):
            service = self.services.require(name)
            mine = self._of(name, fingerprint)
            if any(is_ready(each) and is_made_of(each, template) for each in mine):
                return
            template.revision = self._free_name(name, fingerprint, mine)
            self._begin(name, service, template)
            why = _readiness(self._find(name, template.revision))
            if why.state != _FAILED:
                continue  # looked at once more
            if not _may_pass(why) or turn == TURNS - 1:
                raise ProviderError(f"{template.revision} does not become ready: {why.message}")
            self.services.calls.wait(TURN_SECONDS)
        raise WorldMoved(f"{name}: the revision {fingerprint} is not there after it was made: try again.")

    def prune(self, name: str, revision: str) -> None:
        """Remove a revision that no address leads to; one that is gone is no error."""
        path = f"{self.services.names.service_path(name)}/revisions/{revision}"
        request = DeleteRevisionRequest(name=path)
        begun = self.services.calls.maybe(self.client.delete_revision, request, **ONCE)
        if begun is not None:
            self.services.await_operation(begun)

    def _begin(self, name: str, service: Service, template: RevisionTemplate) -> None:
        """Let Cloud Run make a revision, with the traffic kept where it is: by name, in the same write."""
        now = led_by(service)
        if not now.weights:
            raise Refused(
                f"The address of {self.services.names.service(name)} leads nowhere "
                f"({service.terminal_condition.message}). Remove the service by hand and apply again."
            )
        change = Service(template=template, traffic=now.targets())
        self.services.check(name, change, _FIELDS)
        change.etag = service.etag
        # A revision that fails is looked at afterwards: why it did stands in its own condition.
        with contextlib.suppress(OperationFailed):
            self.services.update(
                name, change, _FIELDS, lambda found: found.template.revision == template.revision
            )

    def _of(self, name: str, fingerprint: str) -> list[Revision]:
        names = self.services.names
        return [
            each for each in self._listed(name) if names.fingerprint_in(name, short(each.name)) == fingerprint
        ]

    def _free_name(self, name: str, fingerprint: str, taken: list[Revision]) -> str:
        names = {short(each.name) for each in taken}
        turns = (self.services.names.revision(name, fingerprint, turn) for turn in itertools.count())
        return next(each for each in turns if each not in names)

    def _find(self, name: str, revision: str) -> Revision | None:
        path = f"{self.services.names.service_path(name)}/revisions/{revision}"
        return self.services.calls.maybe(self.client.get_revision, name=path, **ONCE)

    def _listed(self, name: str) -> list[Revision]:
        """Return all revisions of a service, the oldest first."""
        found: list[Revision] = []
        token = ""
        while True:
            request = ListRevisionsRequest(
                parent=self.services.names.service_path(name), page_size=_PAGE, page_token=token
            )
            page = self.services.calls.maybe(self.client.list_revisions, request, **ONCE)
            if page is None:
                return []
            found += page.revisions
            token = page.next_page_token
            if not token:
                return sorted(found, key=_number)


def is_ready(revision: Revision) -> bool:
    return _readiness(revision).state == Condition.State.CONDITION_SUCCEEDED


def _may_pass(why: Condition) -> bool:
    """Tell whether a right is only too new; a secret that is not there stays away."""
    return why.reason == _NO_SECRETS and "permission" in why.message.lower()


def _readiness(revision: Revision | None) -> Condition:
    conditions = revision.conditions if revision is not None else []
    return next((each for each in conditions if each.type_ == _READY), Condition())


def _number(revision: Revision) -> int:
    """Return what grows with each revision: when it was made, in microseconds."""
    return int(revision.create_time.timestamp() * 1_000_000)
