"""Cloud Storage's JSON API: buckets, and objects that have generations, which conditional writes name."""

# ruff: noqa: ARG002  # every handler is called with the request and all parts of its path

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import google_crc32c

from devstack.clouds.gcp.api.requests import (
    Answer,
    ApiError,
    Document,
    Request,
    Route,
    invalid,
    not_found,
    route,
)
from devstack.clouds.gcp.api.world import PROJECT, World

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_PAGE = 1000
_BEGUN = 200
_MORE = 308


@dataclass(frozen=True, slots=True)
class Object:
    """One object as it is now."""

    content: bytes
    document: Document

    @property
    def generation(self) -> str:
        return str(self.document["generation"])


@dataclass
class Bucket:
    """A bucket and what is in it, by name."""

    document: Document
    objects: dict[str, Object] = field(default_factory=dict)


@dataclass
class Storage:
    """Every bucket there is; names are one for all projects, so some are somebody else's."""

    world: World
    buckets: dict[str, Bucket] = field(default_factory=dict)
    of_others: set[str] = field(default_factory=set)
    """Names of buckets in projects that nobody here may look into."""
    _uploads: dict[str, tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        one = "/storage/v1/b/{bucket}"
        return [
            route("POST", "/storage/v1/b", self.create_bucket),
            route("GET", one, self.get_bucket),
            route("PATCH", one, self.patch_bucket),
            route("DELETE", one, self.delete_bucket),
            route("GET", f"{one}/iam", self.get_policy),
            route("PUT", f"{one}/iam", self.set_policy),
            route("GET", f"{one}/o", self.list_objects),
            route("GET", f"{one}/o/{{name}}", self.get_object),
            route("DELETE", f"{one}/o/{{name}}", self.delete_object),
            route("GET", "/download/storage/v1/b/{bucket}/o/{name}", self.download),
            route("POST", "/upload/storage/v1/b/{bucket}/o", self.upload),
            route("PUT", "/upload/storage/v1/b/{bucket}/o", self.upload_part),
        ]

    def create_bucket(self, request: Request) -> Answer:
        given = request.json
        name = str(given.get("name", ""))
        if not _NAME.fullmatch(name):
            raise invalid(f"Invalid bucket name: '{name}'")
        if request.query.get("project") != PROJECT:
            raise ApiError(403, "forbidden", f"No permission on project {request.query.get('project')}.")
        if name in self.buckets or name in self.of_others:
            text = "already own it" if name in self.buckets else "requested bucket name is not available"
            raise ApiError(409, "conflict", f"Your previous request to create the named bucket: {text}.")
        policy = {"uniformBucketLevelAccess": {"enabled": False}, "publicAccessPrevention": "inherited"}
        document = {
            "kind": "storage#bucket",
            "id": name,
            "location": "US",
            "labels": {},
            **given,
            "iamConfiguration": {**policy, **given.get("iamConfiguration", {})},
            "metageneration": "1",
            "etag": self.world.token(),
        }
        self.buckets[name] = Bucket(document)
        return Answer.of(document)

    def get_bucket(self, request: Request, bucket: str) -> Answer:
        return Answer.of(self._bucket(bucket).document)

    def patch_bucket(self, request: Request, bucket: str) -> Answer:
        document = self._bucket(bucket).document
        for key, value in request.json.items():
            if isinstance(value, dict) and isinstance(document.get(key), dict):
                document[key] |= value
                document[key] = {name: one for name, one in document[key].items() if one is not None}
            else:
                document[key] = value
        document["metageneration"] = str(int(document["metageneration"]) + 1)
        document["etag"] = self.world.token()
        return Answer.of(document)

    def delete_bucket(self, request: Request, bucket: str) -> Answer:
        if self._bucket(bucket).objects:
            raise ApiError(409, "conflict", "The bucket you tried to delete is not empty.")
        del self.buckets[bucket]
        self.world.policies.pop(_resource(bucket), None)
        return Answer(status=204)

    def get_policy(self, request: Request, bucket: str) -> Answer:
        self._bucket(bucket)
        policy = self.world.policy(_resource(bucket))
        asked = int(request.query.get("optionsRequestedPolicyVersion", 1))
        if policy["version"] > asked:
            raise invalid("The policy has conditions: version 3 has to be asked for.")
        return Answer.of(policy)

    def set_policy(self, request: Request, bucket: str) -> Answer:
        self._bucket(bucket)
        return Answer.of(self.world.set_policy(_resource(bucket), request.json))

    def list_objects(self, request: Request, bucket: str) -> Answer:
        prefix = request.query.get("prefix", "")
        objects = self._bucket(bucket).objects
        names = sorted(name for name in objects if name.startswith(prefix))
        begin = int(request.query.get("pageToken") or 0)
        size = min(int(request.query.get("maxResults") or _PAGE), _PAGE)
        page: Document = {
            "kind": "storage#objects",
            "items": [objects[name].document for name in names[begin : begin + size]],
        }
        if begin + size < len(names):
            page["nextPageToken"] = str(begin + size)
        return Answer.of(page)

    def get_object(self, request: Request, bucket: str, name: str) -> Answer:
        if request.query.get("alt") == "media":
            return self.download(request, bucket, name)
        return Answer.of(self.find(bucket, name).document)

    def delete_object(self, request: Request, bucket: str, name: str) -> Answer:
        self.find(bucket, name)
        self._check(request.query, bucket, name)
        del self._bucket(bucket).objects[name]
        return Answer(status=204)

    def download(self, request: Request, bucket: str, name: str) -> Answer:
        found = self.find(bucket, name)
        hashes = f"crc32c={found.document['crc32c']},md5={found.document['md5Hash']}"
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Generation": found.generation,
            "X-Goog-Hash": hashes,
        }
        return Answer(found.content, headers=headers)

    def upload(self, request: Request, bucket: str) -> Answer:
        """Take an object in one request with its description, or begin an upload in parts."""
        self._bucket(bucket)
        if request.query.get("uploadType") == "multipart":
            described, content = _multipart(request)
            return self._finish(bucket, str(described["name"]), request.query, content)
        name = str(request.query.get("name") or request.json["name"])
        self._check(request.query, bucket, name)
        upload = uuid.uuid4().hex
        self._uploads[upload] = (bucket, name, request.query, b"")
        host = request.headers.get("host", "127.0.0.1")
        location = f"http://{host}{request.path}?uploadType=resumable&upload_id={upload}"
        return Answer(b"{}", _BEGUN, {"Location": location, "Content-Type": "application/json"})

    def upload_part(self, request: Request, bucket: str) -> Answer:
        upload = request.query.get("upload_id", "")
        if upload not in self._uploads:
            raise not_found(f"The upload {upload}")
        _, name, query, before = self._uploads[upload]
        content = before + request.body
        total = request.headers.get("content-range", "").rpartition("/")[2]
        if total.isdigit() and len(content) < int(total):
            self._uploads[upload] = (bucket, name, query, content)
            return Answer(status=_MORE, headers={"Range": f"bytes=0-{len(content) - 1}"})
        del self._uploads[upload]
        return self._finish(bucket, name, query, content)

    def find(self, bucket: str, name: str) -> Object:
        """Return an object.

        Raises:
            ApiError: there is none, or no such bucket.
        """
        found = self._bucket(bucket).objects.get(name)
        if found is None:
            raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
        return found

    def _bucket(self, name: str) -> Bucket:
        if name in self.of_others:
            raise ApiError(
                403, "forbidden", f"The caller does not have storage.buckets.get access to {name}."
            )
        if name not in self.buckets:
            raise ApiError(404, "notFound", "The specified bucket does not exist.")
        return self.buckets[name]

    def _finish(self, bucket: str, name: str, query: Mapping[str, str], content: bytes) -> Answer:
        self._check(query, bucket, name)
        document = {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(content)),
            "generation": str(1_700_000_000_000_000 + self.world.number()),
            "metageneration": "1",
            "crc32c": base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode(),
            "md5Hash": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            "timeCreated": self.world.now(),
        }
        self._bucket(bucket).objects[name] = Object(content, document)
        return Answer.of(document)

    def _check(self, query: Mapping[str, str], bucket: str, name: str) -> None:
        """Hold a request to its condition; 0 asks that there be no such object."""
        wanted = query.get("ifGenerationMatch")
        if wanted is None:
            return
        there = self._bucket(bucket).objects.get(name)
        if wanted != (there.generation if there else "0"):
            text = "At least one of the pre-conditions you specified did not hold."
            raise ApiError(412, "conditionNotMet", text)


def _resource(bucket: str) -> str:
    return f"projects/_/buckets/{bucket}"


def _multipart(request: Request) -> tuple[Document, bytes]:
    """Return both parts of a body: what describes the object, and its content."""
    found = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if found is None:
        raise invalid("The body is not multipart/related.")
    boundary = b"--" + found[1].encode()
    parts = request.body.split(boundary, 2)
    described = parts[1].split(b"\r\n\r\n", 1)[1]
    content = parts[2].split(b"\r\n\r\n", 1)[1]
    document: Document = json.loads(described)
    return document, content.removesuffix(b"\r\n" + boundary + b"--")
