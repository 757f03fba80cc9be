"""The blob store: one interface to files and to S3."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from shared.errors import BlobUnavailable, NotFound
from shared.state.blobs import BlobStore

IMAGE = bytes(range(256)) * 1000


class _Bucket(ThreadingHTTPServer):
    """As much of S3 as the blob store calls, in memory."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _S3)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.refuse_with = 0
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _S3(BaseHTTPRequestHandler):
    server: _Bucket

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = urlsplit(self.path)
        key = unquote(target.path).removeprefix("/bucket").lstrip("/")
        self.server.requests.append(f"{self.command} {key}")
        if self.server.refuse_with:
            self._answer(self.server.refuse_with, b"<Error><Code>Refused</Code></Error>")
        elif self.command == "PUT":
            self.server.objects[key] = (body, self.headers["Content-Type"])
            self._answer(200)
        elif self.command == "POST":
            doomed = [part.split("</Key>")[0] for part in body.decode().split("<Key>")[1:]]
            for each in doomed:
                self.server.objects.pop(each, None)
            rows = "".join(f"<Deleted><Key>{each}</Key></Deleted>" for each in doomed)
            self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())
        elif not key:
            self._list(parse_qs(target.query).get("prefix", [""])[0])
        elif key in self.server.objects:
            self._answer(200, *self.server.objects[key])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_GET = do_PUT = do_POST = _handle  # noqa: N815 - the base's names

    def _list(self, prefix: str) -> None:
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>{len(data)}</Size></Contents>"
            for key, (data, _) in self.server.objects.items()
            if key.startswith(prefix)
        )
        self._answer(200, f"<ListBucketResult>{rows}</ListBucketResult>".encode())

    def _answer(self, status: int, body: bytes = b"", content_type: str = "application/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay quiet."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Bucket]:
    """S3 where the platform's own variables point to, as a role's credentials do in a function."""
    with _Bucket() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        _point_aws_at(server.url, monkeypatch)
        yield server
        server.shutdown()
        thread.join()


def _point_aws_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"ENDPOINT_URL": url, "REGION": "eu-central-1"}
    for name, value in {**variables, "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(params=["file", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "s3":
        request.getfixturevalue("bucket")
        return BlobStore("s3://bucket/dev")
    return BlobStore((tmp_path / "made by itself" / "blobs").as_uri())


def test_what_was_put_is_got_byte_for_byte(blobs: BlobStore) -> None:
    blobs.put("images/user/task", IMAGE, "image/png")
    assert blobs.get("images/user/task") == IMAGE


def test_a_second_put_replaces_the_first(blobs: BlobStore) -> None:
    blobs.put("images/user/task", b"first", "image/png")
    blobs.put("images/user/task", b"second", "image/png")
    assert blobs.get("images/user/task") == b"second"


def test_a_missing_blob_is_not_found(blobs: BlobStore) -> None:
    with pytest.raises(NotFound):
        blobs.get("images/user/none")


def test_deleting_a_prefix_takes_the_key_itself_and_all_below_and_nothing_beside(blobs: BlobStore) -> None:
    for key in ("a/b", "a/bc", "a/c/1", "a/c/d/2", "a/cc/3"):
        blobs.put(key, b"x", "text/plain")
    blobs.delete_prefix("a/b")
    blobs.delete_prefix("a/c")
    for gone in ("a/b", "a/c/1", "a/c/d/2"):
        with pytest.raises(NotFound):
            blobs.get(gone)
    assert blobs.get("a/bc") == blobs.get("a/cc/3") == b"x"


def test_deleting_what_is_not_there_is_no_error(blobs: BlobStore) -> None:
    blobs.delete_prefix("images/user/none")
    blobs.put("images/user/task", b"x", "image/png")
    blobs.delete_prefix("images/user/task")
    blobs.delete_prefix("images/user/task")


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", ".hidden", "a b", "a\nb", "å", "a?b", "a" * 513],
)
def test_a_key_that_could_leave_its_folder_is_refused(key: str, blobs: BlobStore) -> None:
    for call in (
        lambda: blobs.put(key, b"x", "image/png"),
        lambda: blobs.get(key),
        lambda: blobs.delete_prefix(key),
    ):
        with pytest.raises(ValueError, match="not a key"):
            call()


def test_many_threads_may_use_one_store(blobs: BlobStore) -> None:
    def round_trip(number: int) -> bytes:
        blobs.put(f"threads/{number}", str(number).encode(), "text/plain")
        return blobs.get(f"threads/{number}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(round_trip, range(40))) == [str(n).encode() for n in range(40)]


def test_nothing_is_created_before_the_first_use(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    assert not (tmp_path / "blobs").exists()
    blobs.put("key", b"x", "image/png")
    assert (tmp_path / "blobs" / "key").read_bytes() == b"x"


def test_s3_keeps_the_type_below_the_url_s_own_folder(bucket: _Bucket) -> None:
    BlobStore("s3://bucket/dev").put("images/1", IMAGE, "image/webp")
    assert bucket.objects == {"dev/images/1": (IMAGE, "image/webp")}


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_bucket_that_refuses_is_unavailable_and_never_looks_stored(status: int, bucket: _Bucket) -> None:
    bucket.refuse_with = status
    with pytest.raises(BlobUnavailable):
        BlobStore("s3://bucket").put("key", b"x", "image/png")
    expected = NotFound if status == 404 else BlobUnavailable
    with pytest.raises(expected):
        BlobStore("s3://bucket").get("key")


def test_a_bucket_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    _point_aws_at(f"http://127.0.0.1:{port}", monkeypatch)
    with pytest.raises(BlobUnavailable) as failure:
        BlobStore("s3://bucket").get("key")
    assert failure.value.retry_after_seconds is not None
    assert str(port) not in str(failure.value)


def test_a_bucket_that_never_answers_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _point_aws_at(f"http://127.0.0.1:{listener.getsockname()[1]}", monkeypatch)
        with pytest.raises(BlobUnavailable):
            BlobStore("s3://bucket", timeout_seconds=0.2).get("key")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(BlobUnavailable):
        BlobStore((tmp_path / "file" / "blobs").as_uri()).put("key", b"x", "image/png")
