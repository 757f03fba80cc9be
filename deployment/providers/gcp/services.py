"""A Cloud Run service as a whole: whether there is one, whose it is, and how it takes a change in.

Every other module of a function's asks here before it writes: what does not carry our labels is left alone.
A write is guarded by the etag of the service that was looked at, names the fields that it changes, and is
over when its operation is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.cloud.run_v2 import ServicesClient
from google.cloud.run_v2.types import (
    CreateServiceRequest,
    DeleteServiceRequest,
    GetServiceRequest,
    Service,
    UpdateServiceRequest,
)
from google.longrunning.operations_pb2 import GetOperationRequest, Operation
from google.protobuf.field_mask_pb2 import FieldMask

from deployment.errors import ForeignResource, ProviderError, WorldMoved
from deployment.providers.gcp.calls import ONCE, Calls, GcpError
from deployment.providers.gcp.names import Names

POLL_SECONDS = 1.0
POLLS = 600
"""Cloud Run takes seconds to take a change in, and gives a revision minutes to start."""


class OperationFailed(ProviderError):
    """Cloud Run took a change, and could not carry it out; the text is its own."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services of an environment."""

    client: ServicesClient
    calls: Calls
    names: Names

    def find(self, name: str) -> Service | None:
        """Return a service, ours or not, once it has taken the last change in."""
        request = GetServiceRequest(name=self.names.service_path(name))
        for _ in range(POLLS):
            found = self.calls.maybe(self.client.get_service, request, **ONCE)
            if found is None or not found.reconciling:
                return found
            self.calls.wait(POLL_SECONDS)
        raise ProviderError(f"{self.names.service(name)} is not settled after {POLLS * POLL_SECONDS:.0f} s.")

    def is_ours(self, name: str, found: Service) -> bool:
        return self.names.owns(found.labels, name)

    def require(self, name: str) -> Service:
        """Return a service that is there and ours.

        Raises:
            WorldMoved: it is not there.
            ForeignResource: it does not carry our labels.
        """
        found = self.find(name)
        if found is None:
            raise WorldMoved(f"The Cloud Run service {self.names.service(name)} is gone: plan again.")
        self.refuse_foreign(name, found)
        return found

    def refuse_foreign(self, name: str, found: Service) -> None:
        """Return when a service carries our labels, and raise ForeignResource when it does not."""
        if not self.is_ours(name, found):
            raise ForeignResource(
                f"The Cloud Run service {self.names.service(name)} exists without this environment's labels: "
                "it is left alone."
            )

    def create(self, name: str, service: Service) -> None:
        """Make a service; one that has come into being meanwhile is left as it is.

        Raises:
            OperationFailed: it does not start.
        """
        request = CreateServiceRequest(
            parent=self.names.parent, service_id=self.names.service(name), service=service
        )
        try:
            begun = self.calls(self.client.create_service, request, **ONCE)
        except GcpError as error:
            if not error.conflicts:
                raise
            self.require(name)  # our own first attempt, or somebody's who was quicker
            return
        self._await(begun.operation)

    def update(
        self, name: str, wanted: Service, fields: Sequence[str], is_done: Callable[[Service], bool]
    ) -> None:
        """Change some fields of a service.

        Args:
            name: the function's.
            wanted: the fields, and the etag of the service that was looked at.
            fields: which of them to write.
            is_done: tells of a service whether it is as wanted: an answer may have been lost.

        Raises:
            WorldMoved: somebody else changed the service meanwhile.
            OperationFailed: Cloud Run could not carry it out.
        """
        wanted.name = self.names.service_path(name)
        request = UpdateServiceRequest(service=wanted, update_mask=FieldMask(paths=list(fields)))
        try:
            begun = self.calls(self.client.update_service, request, **ONCE)
        except GcpError as error:
            if not (error.conflicts or error.missing):
                raise
            found = self.find(name)
            if error.attempts > 1 and found is not None and is_done(found):
                return  # our own first attempt, whose answer was lost
            raise WorldMoved(
                f"The Cloud Run service {self.names.service(name)} was changed by somebody else meanwhile: "
                "plan again."
            ) from error
        self._await(begun.operation)

    def check(self, name: str, wanted: Service, fields: Sequence[str]) -> None:
        """Ask Cloud Run whether it would take a change; nothing is changed.

        Raises:
            GcpError: it would not; the text says why.
        """
        wanted.name = self.names.service_path(name)
        mask = FieldMask(paths=list(fields))
        request = UpdateServiceRequest(service=wanted, update_mask=mask, validate_only=True)
        try:
            self.calls(self.client.update_service, request, **ONCE)
        except GcpError as error:
            # Somebody else's change in between is found, and told, by the write itself.
            if not (error.conflicts or error.missing):
                raise

    def remove(self, name: str) -> None:
        """Remove a service that is ours, with its revisions."""
        found = self.find(name)
        if found is None or not self.is_ours(name, found):
            return
        request = DeleteServiceRequest(name=self.names.service_path(name))
        begun = self.calls.maybe(self.client.delete_service, request, **ONCE)
        if begun is not None:
            self._await(begun.operation)

    def await_operation(self, operation: Any) -> None:
        """Return when an operation is done; what a client returns for one.

        Raises:
            OperationFailed: it ended in an error.
        """
        self._await(operation.operation)

    def _await(self, operation: Operation) -> None:
        request = GetOperationRequest(name=operation.name)
        for _ in range(POLLS):
            if operation.done:
                if operation.HasField("error"):
                    raise OperationFailed(operation.error.message)
                return
            self.calls.wait(POLL_SECONDS)
            operation = self.calls(self.client.get_operation, request, **ONCE)
        raise ProviderError(f"{operation.name} is not done after {POLLS * POLL_SECONDS:.0f} s.")


def short(name: str) -> str:
    """Return the last part of a full name, which is how traffic names revisions."""
    return name.rpartition("/")[2]
