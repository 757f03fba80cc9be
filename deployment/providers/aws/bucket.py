"""The environment's bucket: packages by content, releases, the lock.

A conditional write names the ETag of the object that was read, or asks that there be none; S3 lets exactly
one of several writers through. The bucket is closed to the public and carries the environment's tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from deployment.errors import ForeignResource, Refused
from deployment.objects import Condition, Conflict, Stored
from deployment.providers.aws.calls import AwsError, Calls, pages
from deployment.providers.aws.names import Names, from_tag_list

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_s3 import S3Client

_CLOSED: Mapping[str, bool] = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_NEXT_PAGE = ("NextContinuationToken", "ContinuationToken")
_DEFAULT_REGION = "us-east-1"
"""The one that S3 does not take as a location: it is where a bucket is without one."""
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Bucket:
    """The store of one environment (`deployment.objects.ObjectStore`)."""

    s3: S3Client
    calls: Calls
    names: Names

    @property
    def name(self) -> str:
        return self.names.place.bucket

    def ensure(self) -> None:
        """Make the bucket, its tags and its lock on the public door, whichever of them is missing."""
        if self._located() is None:
            self._create()
        tags = self._tags()
        if not self.names.owns(tags):
            self._adopt(tags)
        answer = self.calls.maybe(self.s3.get_public_access_block, **self._own())
        if not answer or cast("Any", answer["PublicAccessBlockConfiguration"]) != dict(_CLOSED):
            self.calls(
                self.s3.put_public_access_block,
                **self._own(),
                PublicAccessBlockConfiguration=cast("Any", dict(_CLOSED)),
            )

    def get(self, key: str) -> Stored | None:
        answer = self.calls.maybe(self.s3.get_object, **self._own(), Key=key)
        return Stored(answer["Body"].read(), answer["ETag"]) if answer else None

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        conditions: Mapping[str, Any] = {
            Condition.ANY: {},
            Condition.ABSENT: {"IfNoneMatch": "*"},
        }.get(only_if, {"IfMatch": only_if})
        try:
            answer = self.calls(
                self.s3.put_object,
                **self._own(),
                Key=key,
                Body=content,
                ChecksumAlgorithm="SHA256",
                **conditions,
            )
        except AwsError as error:
            if error.code != "PreconditionFailed" and not (conditions and error.code == "NoSuchKey"):
                raise
            written = self.get(key) if error.attempts > 1 else None
            if written is not None and written.content == content:
                return written.version  # by our own first attempt, whose answer was lost
            raise Conflict(f"{self.name}/{key} is not as it was: somebody else wrote it.") from error
        return answer["ETag"]

    def list(self, prefix: str) -> list[str]:
        found = pages(
            self.calls, self.s3.list_objects_v2, "Contents", _NEXT_PAGE, **self._own(), Prefix=prefix
        )
        return sorted(each["Key"] for each in found)

    def delete(self, key: str) -> None:
        self.calls.maybe(self.s3.delete_object, **self._own(), Key=key)

    def sha256_of(self, key: str) -> str | None:
        """Return an object's digest (base64), as S3 checked it; None when there is no such object."""
        answer = self.calls.maybe(self.s3.head_object, **self._own(), Key=key, ChecksumMode="ENABLED")
        return answer.get("ChecksumSHA256") if answer else None

    def destroy(self) -> None:
        """Remove the bucket if it is ours, with all versions of all that is in it."""
        if self._located() is None or not self.names.owns(self._tags()):
            return
        while found := self._versions():
            objects: Any = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
            answer = self.calls(
                self.s3.delete_objects, **self._own(), Delete={"Objects": objects, "Quiet": True}
            )
            if failed := answer.get("Errors"):
                raise Refused(
                    f"{self.name}/{failed[0].get('Key')} cannot be removed: {failed[0].get('Code')}."
                )
        self.calls.maybe(self.s3.delete_bucket, **self._own())

    def _own(self) -> Any:
        """Return what every call says: the bucket, and that it must be this account's."""
        return {"Bucket": self.name, "ExpectedBucketOwner": self.names.place.account}

    def _located(self) -> object:
        try:
            return self.calls.maybe(self.s3.head_bucket, **self._own())
        except AwsError as error:
            if error.code in {"403", "AccessDenied"}:
                raise self._foreign("belongs to another account, or may not be looked at") from error
            raise

    def _create(self) -> None:
        region = self.names.place.region
        location: Any = {} if region == _DEFAULT_REGION else {"LocationConstraint": region}
        settings: Any = {"CreateBucketConfiguration": location} if location else {}
        try:
            self.calls(self.s3.create_bucket, Bucket=self.name, **settings)
        except AwsError as error:
            if error.code == "BucketAlreadyExists":
                raise self._foreign("belongs to another account") from error
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _adopt(self, tags: Mapping[str, str]) -> None:
        """Tag a bucket that is ours but for its tags: one that was made just before whoever made it ended.

        S3 makes a bucket and its tags in two calls. In between it is empty and has no tags at all; nothing
        that anybody uses looks like that.
        """
        if tags or self.list(""):
            raise self._foreign("exists without this environment's tags")
        own: Any = {"TagSet": self.names.tag_list()}
        self.calls(self.s3.put_bucket_tagging, **self._own(), Tagging=own)

    def _tags(self) -> dict[str, str]:
        answer = self.calls.maybe(self.s3.get_bucket_tagging, **self._own())
        return from_tag_list(cast("Any", answer["TagSet"])) if answer else {}

    def _versions(self) -> Sequence[Any]:
        answer = self.calls.maybe(self.s3.list_object_versions, **self._own(), MaxKeys=_DELETED_AT_ONCE)
        return [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])] if answer else []

    def _foreign(self, why: str) -> ForeignResource:
        return ForeignResource(f"The S3 bucket {self.name} {why}: it is left alone. Declare another name.")
