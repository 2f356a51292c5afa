"""A kept connection whose time is up just as a request arrives: not the upstream's failure, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from apps.gateway import routing
from apps.gateway.errors import UpstreamBusy, UpstreamError
from apps.gateway.upstreams import exchange

from peers.caller import ask, call_of, ledger_row

pytestmark = pytest.mark.usefixtures("gateway")
ANSWER = orjson.dumps(
    {
        "id": "a",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A stone."}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


class Impatient:
    """Answers the first request of a connection, and closes it on the second without a word (or with half a one)."""

    def __init__(self, *, first: bytes = WHOLE, last: bytes = b"") -> None:
        self.first, self.last = first, last
        self.requests: list[int] = []
        """For each connection, how many there were."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.requests)
        self.requests.append(0)
        for said in (self.first, self.last):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                await reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.requests[number] += 1
            writer.write(said)
            if said != WHOLE:
                break
        writer.close()


@asynccontextmanager
async def listening(peer: Impatient) -> AsyncIterator[str]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def breaker_of(tenant, name):
    return (await routing.resolve(tenant.id, name)).targets[0].health.breaker


async def test_the_request_is_sent_again_on_a_fresh_connection(alice, routes):
    peer = Impatient()
    async with listening(peer) as url:
        name = await routes.to("fake", base_url=url, policy={"retries": 0})
        for _ in range(4):
            call = call_of(alice.principal, name)
            assert (await ask(call)).json["choices"][0]["message"]["content"] == "A stone."
            assert ledger_row(call.id)["attempts"] == 1
        assert peer.requests == [2, 2, 2, 1]
        assert (await breaker_of(alice.tenant, name)).calm


async def test_who_closes_a_fresh_connection_has_failed(alice, routes):
    peer = Impatient(first=b"")
    async with listening(peer) as url:
        name = await routes.to("fake", base_url=url, policy={"retries": 0})
        with pytest.raises(UpstreamBusy):
            await ask(call_of(alice.principal, name))
        assert peer.requests == [1]
        assert not (await breaker_of(alice.tenant, name)).calm


@pytest.mark.parametrize("late", [False, True])
async def test_who_began_to_answer_or_thought_about_it_is_not_asked_again(alice, routes, monkeypatch, late):
    peer = Impatient(last=b"" if late else b"HTTP/1.1 200")
    if late:  # however soon it comes
        monkeypatch.setattr(exchange, "CROSSING_SECONDS", -1.0)
    async with listening(peer) as url:
        name = await routes.to("fake", base_url=url, policy={"retries": 0})
        await ask(call_of(alice.principal, name))
        call = call_of(alice.principal, name)
        with pytest.raises(UpstreamError):
            await ask(call)
        assert peer.requests == [2]
        assert ledger_row(call.id)["attempts"] == 1
