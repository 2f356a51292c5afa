"""How answers are written to the socket: the head with what first follows, and every framing as HTTP/1.1 has it (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from menhir.wiring import bounds
from menhir.wiring.bounds import BoundedHeads, hang_up_on_overdue

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Wire(asyncio.Transport):
    """Keeps each write apart: how many there are is what this is about."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Served:
    """A connection to the application that sends what it is told."""

    def __init__(self, *messages: dict[str, Any] | asyncio.Event) -> None:
        async def application(scope: Any, receive: Any, send: Send) -> None:
            for message in messages:
                await (message.wait() if isinstance(message, asyncio.Event) else send(message))

        config = uvicorn.Config(application, lifespan="off", log_level="critical", http=BoundedHeads)
        config.load()
        self.server = uvicorn.Server(config)
        self.wire = Wire()
        self.protocol = BoundedHeads(config, self.server.server_state, {})
        self.protocol.connection_made(self.wire)

    async def ask(self, request: bytes = GET) -> list[bytes]:
        self.protocol.data_received(request)
        tasks = self.server.server_state.tasks
        for _ in range(20):
            await asyncio.sleep(0)
        if not any(not task.done() for task in tasks):
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.wire.writes


LENGTH = (b"content-length", b"5")


async def test_a_head_goes_out_with_its_body():
    assert await Served(start(200, LENGTH), body(b"hello")).ask() == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"]


async def test_a_head_without_a_body_to_come_does_not_wait():
    gate = asyncio.Event()
    served = Served(start(200), gate, body(b"late"))
    assert await served.ask() == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
    gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert served.wire.writes[1:] == [b"4\r\nlate\r\n0\r\n\r\n"]


async def test_parts_are_chunks_and_the_end_is_said():
    writes = await Served(start(200), body(b"one", more=True), body(b"two", more=True), body(b"")).ask()
    assert writes[0].endswith(b"\r\n\r\n3\r\none\r\n")
    assert writes[1:] == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]


async def test_an_answer_to_head_has_a_length_and_no_body():
    writes = await Served(start(200, LENGTH), body(b"hello")).ask(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]


async def test_what_has_no_body_says_no_framing():
    assert await Served(start(204), body(b"")).ask() == [b"HTTP/1.1 204 No Content\r\n\r\n"]


@pytest.mark.parametrize("asked", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"])
async def test_who_does_not_stay_is_told_that_the_connection_ends(asked):
    served = Served(start(200, LENGTH), body(b"hello"))
    (written,) = await served.ask(asked)
    assert b"connection: close\r\n" in written
    assert served.wire.closed


@pytest.mark.parametrize("header", [(b"x-a", b"b\r\nset-cookie: c"), (b"x-a", b"b\nc"), (b"x\r\na", b"b"), (b"x-a", b"b\0")])
async def test_a_header_with_a_line_break_is_never_written(header):
    served = Served(start(200, header, LENGTH), body(b"hello"))
    (written,) = await served.ask()
    assert written.startswith(b"HTTP/1.1 500")
    assert header[1] not in written


@pytest.mark.parametrize("said", [b"hell", b"hello!"])
async def test_an_answer_of_another_length_than_it_says_is_cut(said):
    served = Served(start(200, LENGTH), body(said))
    await served.ask()
    assert served.wire.closed


async def test_two_requests_in_one_packet_are_answered_in_turn():
    served = Served(start(200, LENGTH), body(b"hello"))
    assert len(await served.ask(GET + GET)) == 2


async def test_who_asks_nothing_more_is_hung_up_on_and_who_asks_is_not():
    served = Served(start(200, LENGTH), body(b"hello"))
    await served.ask()
    now = served.protocol.loop.time()
    late = now + served.protocol.timeout_keep_alive + 1
    hang_up_on_overdue([served.protocol], now=now)
    assert not served.wire.closed
    served.protocol.data_received(b"GET / HT")  # he has begun, and is given the time of a head
    hang_up_on_overdue([served.protocol], now=now + bounds.HEAD_SECONDS - 1)
    assert not served.wire.closed
    served.protocol.data_received(b"TP/1.1\r\nhost: a\r\n\r\n")
    await served.ask(b"")
    hang_up_on_overdue([served.protocol], now=late + 1)
    assert served.wire.closed
