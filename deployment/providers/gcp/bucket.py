"""The environment's bucket: packages by content, releases, the lock.

A conditional write names the generation of the object that was read, or 0 to ask that there be none; Cloud
Storage lets exactly one of several writers through. The bucket is closed to the public, has no rights object
by object, and carries the environment's labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployment.errors import ForeignResource
from deployment.objects import Condition, Conflict, Stored
from deployment.providers.gcp.calls import ONCE, Calls, GcpError
from deployment.providers.gcp.names import Names

_CLOSED = "enforced"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The store of one environment (`deployment.objects.ObjectStore`)."""

    storage: Any
    """Google's client; it has no types."""
    calls: Calls
    names: Names

    @property
    def name(self) -> str:
        return self.names.place.bucket

    def ensure(self) -> None:
        """Make the bucket, or close it again if somebody opened it."""
        bucket = self._found() or self._created()
        self._refuse_foreign(bucket)
        if not _is_closed(bucket):
            _close(bucket)
            self.calls(bucket.patch, **ONCE)

    def get(self, key: str) -> Stored | None:
        blob = self._blob(key)
        content = self.calls.maybe(blob.download_as_bytes, **ONCE)
        return None if content is None else Stored(content, str(blob.generation))

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        blob = self._blob(key)
        settings = {**ONCE, **_condition(only_if)}
        try:
            self.calls(blob.upload_from_string, content, "application/octet-stream", **settings)
        except GcpError as error:
            if not error.conflicts:
                raise
            written = self.get(key) if error.attempts > 1 else None
            if written is not None and written.content == content:
                return written.version  # by our own first attempt, whose answer was lost
            raise Conflict(f"{self.name}/{key} is not as it was: somebody else wrote it.") from error
        return str(blob.generation)

    def list(self, prefix: str) -> list[str]:
        try:
            return sorted(self.calls(self._names, prefix))
        except GcpError as error:
            if error.missing:
                return []
            raise

    def delete(self, key: str) -> None:
        self.calls.maybe(self._blob(key).delete, **ONCE)

    def generation_of(self, key: str) -> int | None:
        """Return an object's generation; None when there is no such object."""
        blob = self._blob(key)
        try:
            self.calls(blob.reload, **ONCE)
        except GcpError as error:
            if error.missing:
                return None
            raise
        return int(blob.generation)

    def destroy(self) -> None:
        """Remove the bucket if it is ours, with all that is in it."""
        bucket = self._found()
        if bucket is None or not self.names.owns(bucket.labels):
            return
        for key in self.list(""):
            self.delete(key)
        self.calls.maybe(bucket.delete, **ONCE)

    def _names(self, prefix: str) -> Sequence[str]:
        found = self.storage.list_blobs(self.name, prefix=prefix, fields="items(name),nextPageToken", **ONCE)
        return [blob.name for blob in found]

    def _blob(self, key: str) -> Any:
        return self.storage.bucket(self.name).blob(key)

    def _found(self) -> Any | None:
        bucket = self.storage.bucket(self.name)
        try:
            self.calls(bucket.reload, **ONCE)
        except GcpError as error:
            if error.missing:
                return None
            if error.forbidden:
                raise self._foreign("belongs to another project, or may not be looked at") from error
            raise
        return bucket

    def _created(self) -> Any:
        bucket = self.storage.bucket(self.name)
        bucket.labels = self.names.labels()
        _close(bucket)
        try:
            self.calls(bucket.create, location=self.names.place.region, **ONCE)
        except GcpError as error:
            if not error.conflicts:
                raise
            # Our own first attempt, or somebody's who was quicker: its labels tell.
            found = self._found()
            if found is None:
                raise
            return found
        return bucket

    def _refuse_foreign(self, bucket: Any) -> None:
        if not self.names.owns(bucket.labels):
            raise self._foreign("exists without this environment's labels")

    def _foreign(self, why: str) -> ForeignResource:
        return ForeignResource(f"The bucket {self.name} {why}: it is left alone. Declare another name.")


def _close(bucket: Any) -> None:
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = _CLOSED


def _is_closed(bucket: Any) -> bool:
    rights = bucket.iam_configuration
    return bool(rights.uniform_bucket_level_access_enabled) and rights.public_access_prevention == _CLOSED


def _condition(only_if: str) -> dict[str, int]:
    """Return a write's condition as Cloud Storage takes it."""
    match only_if:
        case Condition.ANY:
            return {}
        case Condition.ABSENT:
            return {"if_generation_match": 0}
        case version:
            return {"if_generation_match": int(version)}
