"""How an answer goes out: its head in one write with the first part of its body.

uvicorn writes the head by itself, which is one more system call and one more packet for each answer, and puts each header to two regular
expressions: a tenth of what a relayed call costs. The rest of the cycle is uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})
BODILESS: Final = (204, 304)
CLOSE: Final = (b"connection", b"close")
CHUNKED: Final = (b"transfer-encoding", b"chunked")

Header = tuple[bytes, bytes]


class Cycle(RequestResponseCycle):
    """One request and its answer. A head waits for the first part of the body until the loop's next turn, and no longer."""

    head = b""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take an ASGI message. Raises RuntimeError for one that is out of order, or longer or shorter than it was said to be."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._begin(message)
        elif self.response_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}'.")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, message: Mapping[str, Any]) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{message['type']}'.")
        status: int = message["status"]
        headers: list[Header] = [*self.default_headers, *message.get("headers", ())]
        headers += self._framing([pair for pair in headers if pair[0].lower() in FRAMING], status)
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % pair for pair in headers])
        lines = len(headers) + 1
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise RuntimeError("A header of the answer has a line break in it.")
        self.response_started = True
        self.waiting_for_100_continue = False
        self.head = head + b"\r\n"
        asyncio.get_running_loop().call_soon(self._flush)

    def _framing(self, said: list[Header], status: int) -> list[Header]:
        """Read how the body is delimited; give the headers that must say so besides."""
        closes = False
        for name, value in said:
            name = name.lower()  # noqa: PLW2901 - Django writes them in capitals
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, closes = False, True
        more = [] if self.keep_alive or closes else [CLOSE]
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked_encoding = True
            more.append(CHUNKED)
        return more

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if self.head:
            head, self.head = self.head, b""
            body = head + body
        if body:
            self.transport.write(body)
        if not more:
            if self.expected_content_length > 0:
                raise RuntimeError("Response content shorter than Content-Length")
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _flush(self) -> None:
        head, self.head = self.head, b""
        if head and not self.disconnected:
            self.transport.write(head)
