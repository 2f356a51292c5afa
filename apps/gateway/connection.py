"""One HTTP/1.1 connection to an upstream: a request, its answer as it arrives, and the next request.

A general client (redirects, cookies, compression, a task to write each body) took a quarter of a call's time. This is what
relaying needs, over httptools, which is what uvicorn reads requests with.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 64 * 1024
MAX_UNREAD_BYTES = 256 * 1024
"""More than this is left in the socket, and so with the sender, until it is read."""
LOWEST_FINAL_STATUS = 200

Headers = list[tuple[bytes, bytes]]


class Unanswered(ConnectionError):
    """The other side closed the connection before it answered; most often a kept one, just as it was taken up again."""


class Broken(ConnectionError):
    """The answer broke off, or is no HTTP."""


class Connection(asyncio.Protocol):
    """Used by one exchange at a time: `ask`, `read` until it gives nothing, then again if it is `reusable`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, lost: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._asked = False
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._head_bytes = 0  # … or of trailers: what came since anybody could read something
        self._answered = False
        self._complete = False
        self._keeps = False
        self._failure: ConnectionError | None = None

    @property
    def reusable(self) -> bool:
        """Whether it may be asked again: request and answer are through, and both sides keep the connection."""
        return self._complete and self._keeps and not self._closed and not self._parts and not self._transport.get_write_buffer_size()

    @property
    def used(self) -> bool:
        """Whether it has been asked before."""
        return self._asked

    async def ask(self, head: bytes, body: bytes) -> None:
        """Send a request; return when the answer's head is here. Raises Unanswered or Broken."""
        if self._closed:
            raise Unanswered
        self._begin()
        self._asked = True
        self._transport.write(head + body)  # two parts would take the loop longer than to put them together
        while not self._answered:
            if self._failure is not None:
                raise self._failure
            await self._news()

    async def read(self) -> bytes:
        """Give what has come of the body, or wait for it; nothing at its end. Raises Broken when it breaks off."""
        while not self._parts:
            if self._complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._news()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self._closed = True
        self._transport.abort()

    async def _news(self) -> None:
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _tell(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fail(self, failure: ConnectionError) -> None:
        self._failure = failure
        self.close()
        self._tell()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Read on; what comes unasked is no answer to anything, and closes the connection."""
        if not self._asked or self._complete:
            self._fail(Broken("The upstream spoke unasked."))
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keeps = False
            if not self._complete:
                self._fail(Broken("The upstream answered with something that is not HTTP."))
                return
        if self._head_bytes > MAX_HEAD_BYTES and not self._complete:
            self._fail(Broken("The upstream answered with headers that do not end."))
        elif self._unread > MAX_UNREAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close: the end of an answer that says neither its length nor its end, a failure for any other."""
        self._closed = True
        if self._asked and not self._complete and self._failure is None:
            if self._answered and exc is None and self._ends_with_connection():
                self._complete = True
            else:
                self._failure = Broken("The upstream broke off.") if self._answered or self._head_bytes else Unanswered()
        self._tell()
        self._lost(self)

    def _ends_with_connection(self) -> bool:
        return not any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)

    # httptools' side

    def on_message_begin(self) -> None:
        """Take one answer for one request: whatever follows in the same breath is nobody's."""
        if self._complete:
            raise Broken("The upstream answered twice.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the head; a trailer is dropped."""
        if not self._answered:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass over `100 Continue` and the like, which only announce the answer."""
        self.status = self._parser.get_status_code()
        self._answered = self.status >= LOWEST_FINAL_STATUS
        if not self._answered:
            self.headers.clear()

    def on_body(self, data: bytes) -> None:
        """Keep a part until it is read; what follows it without being one is a trailer."""
        self._head_bytes = 0
        self._parts.append(data)
        self._unread += len(data)

    def on_message_complete(self) -> None:
        """End the answer."""
        if self._answered:
            self._complete = True
            self._keeps = self._parser.should_keep_alive()
