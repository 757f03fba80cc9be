"""The connection to a provider, on real sockets: what goes out, what comes in, and each way it can fail."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import AttemptLost
from shared.llm.stop import StopSignal
from shared.llm.transport import StreamTransport

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
DEADLINE_SECONDS = 20.0
Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """Yield the port of a server that serves one connection, and close the connection after that."""

    def accept() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(DEADLINE_SECONDS)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_SECONDS)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def request_of(connection: socket.socket) -> bytes:
    """Read a request to the end of its body, which is the word "end"."""
    received = b""
    while not received.endswith(b"end"):
        received += connection.recv(4096)
    return received


def says(*pieces: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        request_of(connection)
        for piece in pieces:
            connection.sendall(piece)

    return serve


@contextmanager
def answer(
    port: int,
    *,
    scheme: str = "http",
    stop: StopSignal | None = None,
    context: ssl.SSLContext | None = None,
    timeout_seconds: float = DEADLINE_SECONDS,
) -> Iterator[httpx2.Response]:
    transport = StreamTransport(stop or StopSignal(), context)
    with (
        httpx2.Client(transport=transport, timeout=timeout_seconds, trust_env=False) as client,
        client.stream("POST", f"{scheme}://127.0.0.1:{port}/v1/chat?x=ä", content=b"the end") as response,
    ):
        yield response


def body(port: int, **more: float) -> bytes:
    with answer(port, **more) as response:  # type: ignore[arg-type]  # of the keywords, tests give a number
        return b"".join(response.iter_bytes())


def test_a_request_goes_out_as_the_client_made_it() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(serve) as port, answer(port) as response:
        assert response.status_code == 204
    head, _, sent = seen[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    names = [header.partition(b":")[0].lower() for header in headers]
    assert line == b"POST /v1/chat?x=%C3%A4 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}".encode() in headers
    assert len(names) == len(set(names))
    assert b"Content-Length: 7" in headers
    assert sent == b"the end"


def test_each_chunk_is_handed_on_when_it_comes() -> None:
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(CHUNKED + b"6\r\ndata: \r\n")
        assert go_on.wait(DEADLINE_SECONDS)
        connection.sendall(b"4;x=y\r\nmore\r\n0\r\n\r\n")

    with listening(serve) as port, answer(port) as response:
        assert response.headers["content-type"] == "text/event-stream"
        pieces = response.iter_bytes()
        assert next(pieces) == b"data: "
        go_on.set()
        assert b"".join(pieces) == b"more"


def test_a_body_may_end_with_its_length_or_with_its_connection() -> None:
    with listening(says(b"HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r\nwrong")) as port:
        assert body(port) == b"wrong"
    with listening(says(b"HTTP/1.1 200 OK\r\n\r\nuntil ", b"the end")) as port:
        assert body(port) == b"until the end"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(CHUNKED + b"9\r\nhalf", id="a chunk breaks off"),
        pytest.param(CHUNKED + b"4\r\nhalf\r\n", id="the last chunk is missing"),
        pytest.param(CHUNKED + b"zz\r\nhalf\r\n", id="no chunk at all"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", id="shorter than announced"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="no HTTP"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_answer_that_breaks_off_is_an_error_and_never_a_whole_one(said: bytes) -> None:
    with listening(says(said)) as port, pytest.raises(httpx2.TransportError) as caught:
        body(port)
    assert isinstance(caught.value, httpx2.RemoteProtocolError | httpx2.NetworkError)


def test_a_connection_that_is_reset_is_an_error() -> None:
    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(CHUNKED)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with listening(serve) as port, pytest.raises(httpx2.TransportError):
        body(port)


@pytest.mark.parametrize("said", [b"", CHUNKED, CHUNKED + b"4\r\nhalf\r\n"])
def test_a_provider_that_falls_silent_is_given_up_after_its_time(said: bytes) -> None:
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        says(said)(connection)
        assert over.wait(DEADLINE_SECONDS)

    with listening(serve) as port:
        with pytest.raises(httpx2.ReadTimeout):
            body(port, timeout_seconds=0.2)
        over.set()


def test_nobody_there_is_a_connection_that_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(httpx2.ConnectError):
        body(port)


def test_leaving_an_answer_closes_its_connection() -> None:
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        says(CHUNKED, b"4\r\nhalf\r\n")(connection)
        assert connection.recv(1) == b""
        closed.set()

    with listening(serve) as port:
        with answer(port) as response:
            assert next(response.iter_bytes()) == b"half"
        assert closed.wait(DEADLINE_SECONDS)


def test_an_answer_that_somebody_still_holds_is_closed_with_its_client() -> None:
    """As when a cancel breaks an attempt off: its error's traceback holds the half-read answer."""
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(CHUNKED + b"6\r\ndata: \r\n")
        if connection.recv(1) == b"":
            closed.set()

    with listening(serve) as port:
        with httpx2.Client(transport=StreamTransport(StopSignal()), timeout=DEADLINE_SECONDS) as client:
            request = client.build_request("POST", f"http://127.0.0.1:{port}/", content=b"the end")
            held = client.send(request, stream=True)
            pieces = held.iter_bytes()
            assert next(pieces) == b"data: "
        assert closed.wait(DEADLINE_SECONDS), "the provider still talks to nobody"
    del pieces, held


def test_a_pressed_button_lets_no_connection_speak() -> None:
    stop = StopSignal()
    stop.stop(AttemptLost())
    seen: list[bytes] = []
    with (
        listening(lambda connection: seen.append(connection.recv(100))) as port,
        pytest.raises(httpx2.TransportError),
        answer(port, stop=stop),
    ):
        pass
    assert seen == [b""]


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def tls(certificate: Path, serve: Serve) -> Serve:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def wrapped(connection: socket.socket) -> None:
        with ExitStack() as stack:
            try:
                secure = stack.enter_context(context.wrap_socket(connection, server_side=True))
            except OSError:
                return  # the client has refused the certificate
            serve(secure)

    return wrapped


def test_a_provider_is_reached_over_tls(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    serve = tls(certificate, says(CHUNKED + b"6\r\nsecret\r\n0\r\n\r\n"))
    with listening(serve) as port, answer(port, scheme="https", context=trusting) as response:
        assert b"".join(response.iter_bytes()) == b"secret"


def test_a_certificate_of_nobody_we_know_is_refused(certificate: Path) -> None:
    seen: list[bytes] = []
    with (
        listening(tls(certificate, lambda connection: seen.append(connection.recv(10)))) as port,
        pytest.raises(httpx2.ConnectError, match="certificate"),
        answer(port, scheme="https"),
    ):
        pass
    assert seen == []


def test_a_stop_ends_a_handshake_that_nobody_answers() -> None:
    stop, begun = StopSignal(), threading.Event()

    def serve(connection: socket.socket) -> None:
        assert connection.recv(10_000)
        begun.set()
        while connection.recv(10_000):
            pass

    def press() -> None:
        assert begun.wait(DEADLINE_SECONDS)
        stop.stop(AttemptLost())

    with listening(serve) as port:
        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(httpx2.ConnectError), answer(port, scheme="https", stop=stop):
            pass
        presser.join()
