"""The connections to upstreams, against a server that says exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.gateway.call import ResolvedTarget
from apps.gateway.connection import Broken, Connection, Unanswered
from apps.gateway.session import Origin, Session, endpoint
from apps.gateway.upstreams import Attempt
from apps.gateway.upstreams.head import head_of

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: peer\r\nContent-Length: 2\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: dropped\r\n\r\n"
ANNOUNCED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + WHOLE


class Peer:
    """Answers each request with the next of its scripts, cut into pieces of so many bytes; hangs up after the last."""

    def __init__(self, *scripts: bytes, piece: int = 1 << 20) -> None:
        self.scripts = list(scripts)
        self.piece = piece
        self.connections = 0
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self.scripts:
            try:
                await reader.readexactly(len(HEAD) + 2)
            except asyncio.IncompleteReadError:
                break
            script = self.scripts.pop(0)
            for start in range(0, len(script), self.piece):
                writer.write(script[start : start + self.piece])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        self.hung_up.set()


@asynccontextmanager
async def served(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Session, Origin]]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    session = Session()
    try:
        yield session, Origin("127.0.0.1", server.sockets[0].getsockname()[1], tls is not None)
    finally:
        await session.close()
        server.close()


async def body_of(connection: Connection) -> bytes:
    parts = []
    while data := await connection.read():
        parts.append(data)
    return b"".join(parts)


async def exchange(session: Session, origin: Origin) -> tuple[int, bytes]:
    connection = await session.take(origin)
    try:
        await connection.ask(HEAD, b"{}")
        return connection.status, await body_of(connection)
    finally:
        session.release(origin, connection)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("script", [WHOLE, CHUNKED, ANNOUNCED, b"HTTP/1.1 200 OK\r\n\r\nhello"])
async def test_an_answer_is_the_same_however_it_is_framed_and_cut(script, piece):
    async with served(Peer(script, piece=piece)) as (session, origin):
        assert await exchange(session, origin) == (200, b"hello")


async def test_a_connection_serves_again_once_its_answer_is_read():
    peer = Peer(WHOLE, CHUNKED, ANNOUNCED, b"HTTP/1.1 204 No Content\r\n\r\n", WHOLE)
    async with served(peer) as (session, origin):
        answers = [await exchange(session, origin) for _ in range(5)]
    assert answers == [(200, b"hello")] * 3 + [(204, b""), (200, b"hello")]
    assert peer.connections == 1


@pytest.mark.parametrize(
    "script",
    [WHOLE.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), WHOLE.replace(b"1.1", b"1.0"), WHOLE + WHOLE, WHOLE + b"HTTP/1.1 200 OK\r\n"],
)
async def test_a_connection_that_may_hold_something_else_does_not_serve_again(script):
    peer = Peer(script, WHOLE)
    async with served(peer) as (session, origin):
        connection = await session.take(origin)
        await connection.ask(HEAD, b"{}")
        assert await body_of(connection) == b"hello"
        session.release(origin, connection)
        assert await exchange(session, origin) == (200, b"hello")
    assert peer.connections == 2


async def test_an_answer_left_in_the_middle_is_hung_up_on():
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello", WHOLE)
    async with served(peer) as (session, origin):
        connection = await session.take(origin)
        await connection.ask(HEAD, b"{}")
        assert await connection.read() == b"hello"
        session.release(origin, connection)
        await asyncio.wait_for(peer.hung_up.wait(), timeout=5)


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (b"", Unanswered),
        (b"HTTP/1.1 200", Broken),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Broken),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 200_000 + b"\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", Broken),
    ],
)
async def test_what_is_no_whole_answer_is_none(script, failure):
    async with served(Peer(script)) as (session, origin):
        with pytest.raises(failure):
            await exchange(session, origin)


async def test_a_reader_that_is_slow_holds_the_sender_back():
    size = 8 * 1024 * 1024
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size, piece=64 * 1024)
    async with served(peer) as (session, origin):
        connection = await session.take(origin)
        await connection.ask(HEAD, b"{}")
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert not peer.hung_up.is_set()
        assert len(await body_of(connection)) == size
        session.release(origin, connection)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    peer = Peer(WHOLE)
    async with served(peer, self_signed(tmp_path)) as (session, origin):
        with pytest.raises(ssl.SSLCertVerificationError):
            await session.take(origin)


def self_signed(folder) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "pem").write_bytes(key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


@pytest.fixture
def head() -> Callable[..., bytes]:
    def make(*, credential: str = "", request_id: str = "req-1", **headers: str) -> bytes:
        target = ResolvedTarget(
            kind="openai", provider="peer", provider_id=uuid4(), base_url="", credential=credential, headers=headers, upstream_model="m"
        )
        attempt = Attempt(
            operation="chat",
            path="/chat/completions",
            body={},
            raw=None,
            stream=False,
            target=target,
            request_id=request_id,
            session=None,  # type: ignore[arg-type]
        )
        to = endpoint("https://peer.example:8443/v1/chat/completions?api-version=2")
        return head_of(attempt, to, length=7, credential=("Authorization", "Bearer "))

    return make


def test_a_head_says_where_it_goes_and_how_long_its_body_is(head):
    lines = head(credential="sk", **{"OpenAI-Organization": "acme"}).split(b"\r\n")
    assert lines[0] == b"POST /v1/chat/completions?api-version=2 HTTP/1.1"
    assert {b"Host: peer.example:8443", b"Content-Length: 7", b"Authorization: Bearer sk", b"OpenAI-Organization: acme"} <= set(lines)
    assert lines[-2:] == [b"", b""]


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "TRANSFER-ENCODING", "Connection", "authorization", "X-Request-Id", "Content-Length "]
)
def test_a_providers_header_never_replaces_what_the_exchange_rests_on(head, name):
    assert b"theirs" not in head(credential="sk", **{name: "theirs"})


@pytest.mark.parametrize("wrong", [{"X-Own": "a\r\nX-Other: b"}, {"X-Own\n": "a"}, {"credential": "sk\nX: y"}, {"request_id": "r\r\n\r\n"}])
def test_a_line_break_in_a_header_is_refused(head, wrong):
    with pytest.raises(ValueError, match="line break"):
        head(**wrong)


@pytest.mark.parametrize("url", ["ftp://peer/v1", "peer/v1", "http:///v1"])
def test_a_url_of_something_else_is_refused(url):
    with pytest.raises(ValueError, match="URL"):
        endpoint(url)
