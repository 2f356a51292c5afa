"""How much a caller may send, and how slowly, said before anybody reads it: heads to the server, bodies to the Django plane.

Django writes a whole body to disk before a view can ask who sent it, and the parser keeps a head in memory for as long as it grows.
(`/v1` counts its own bodies: see apps.assistants.front.admit.)
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import uvicorn
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.gateway.hangup import UNREAD_SECONDS
from menhir.telemetry.calls import ARRIVED
from menhir.wiring.writing import Cycle

MOST_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 20.0
"""For a whole head."""
BODY_SECONDS = 60.0
"""Between two parts of a body, and for the whole of a small one; a longer one has as much more as `LEAST_BYTES_PER_SECOND` gives it."""
LEAST_BYTES_PER_SECOND = 16 * 1024
SILENT_SECONDS = 75.0
"""For the first byte on a new connection."""
TICKS_BETWEEN_SWEEPS = 50
OVERHEAD_BYTES = 1024 * 1024
"""What a form or JSON has around the file itself."""
MOST_FILES_AT_ONCE = 4
"""How many of the largest files a form without scripts may bring together; of smaller ones more."""
TOO_LARGE = "menhir.too_large"
"""Set in a scope whose body was over its limit, and was dropped."""
FROM_NOBODY = "menhir.from_nobody"
"""Set in a scope whose body was not read, since files are taken from those alone who show a key or a session."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOADS = re.compile(r"/api/v1/collections/")
FORMS = re.compile(r"/t/[^/]+/console/collections/")
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def most_bytes(path: str) -> int:
    """The limit of a body, by where it is sent."""
    upload: int = settings.MENHIR_UPLOAD_LIMIT_BYTES
    if UPLOADS.match(path):
        return upload + OVERHEAD_BYTES
    if FORMS.match(path):
        return MOST_FILES_AT_ONCE * upload + OVERHEAD_BYTES
    return int(settings.MENHIR_BODY_LIMIT_BYTES)


def bounded(application: Application, *, is_nobody: Callable[[Scope], Awaitable[bool]]) -> Application:
    """Drop what is over the limit, or a file from nobody, and mark the scope: `menhir.wiring.middleware.body_limit` answers for it."""

    async def within_bounds(scope: Scope, receive: Receive, send: Send) -> None:
        most, received, dropped = most_bytes(scope["path"]), 0, False
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > most:
            scope[TOO_LARGE] = True
        elif await is_nobody(scope):
            scope[FROM_NOBODY] = True

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, dropped
            if not dropped and TOO_LARGE not in scope and FROM_NOBODY not in scope:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= most:
                    return message
                scope[TOO_LARGE] = True
            if not dropped:
                dropped = True
                return {"type": "http.request", "body": b"", "more_body": False}
            while (message := await receive())["type"] != "http.disconnect":
                pass  # the rest of what is too much
            return message

        await application(scope, counted, send)

    return within_bounds


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol, which refuses a head that does not end, and knows how long it has waited for the rest of a request."""

    heading = True
    begun = False
    receiving = False
    head_bytes = 0
    since = 0.0
    idle_since: float | None = None
    """When the last answer was through, and nothing has come since."""
    until = 0.0
    unread = 0
    unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there."""
        self.since = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; hang up with 431 when they are still of a head that is too long."""
        self.head_bytes += len(data)
        if self.receiving:
            self.since = self.loop.time()
            self.until += len(data) / LEAST_BYTES_PER_SECOND
        super().data_received(data)
        if self.heading and self.head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self.heading, self.begun, self.head_bytes, self.since = True, True, 0, self.loop.time()
        self.idle_since = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self.heading, self.receiving, self.until = False, True, self.loop.time() + BODY_SECONDS
        super().on_headers_complete()
        if self.cycle is not None:  # whose making is uvicorn's, and its writing ours
            self.cycle.__class__ = Cycle
        # Its task is made, and has not begun: what lies between is the wait for the loop.
        self.scope[ARRIVED] = time.perf_counter()  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self.receiving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is through. uvicorn would set a timer here, which costs as much as writing the answer; the sweep looks after it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self.heading:
            self.idle_since = self.loop.time()

    def is_overdue(self, now: float) -> bool:
        """Whether the next request, or the rest of one, has been awaited for too long. What waits for us is not the caller's fault."""
        if self.idle_since is not None:
            return now - self.idle_since > self.timeout_keep_alive
        waited = now - self.since
        if self.heading:
            return waited > (HEAD_SECONDS if self.begun else SILENT_SECONDS)
        return self.receiving and (waited > BODY_SECONDS or now > self.until) and not self.flow.read_paused

    def resume_writing(self) -> None:
        """The caller has read enough for us to go on."""
        self.unread = 0
        super().resume_writing()

    def is_unread(self, now: float) -> bool:
        """Whether the caller has taken nothing for too long of what waits for him, and we wait for that or for nothing else."""
        waits = self.transport.get_write_buffer_size() if self.flow.write_paused or self.transport.is_closing() else 0
        if not waits or not 0 < self.unread <= waits:
            self.unread, self.unread_since = waits, now
            return False
        return now - self.unread_since > UNREAD_SECONDS

    def hang_up(self) -> None:
        """Let go of a caller who does not go on."""
        if self.heading and self.begun:
            self.transport.write(TOO_SLOW)
        self.transport.close()


class BoundedServer(uvicorn.Server):
    """uvicorn's server, which looks every few seconds after callers who do not go on."""

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: look after the server, and now and then after them."""
        if counter % TICKS_BETWEEN_SWEEPS == 0:
            hang_up_on_overdue(self.server_state.connections, now=asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def hang_up_on_overdue(connections: Iterable[object], *, now: float) -> None:
    """Close what has been waited for too long: a thousand callers who send a byte a minute, or read none, would each hold a place for ever.

    Asked every few seconds for all of them, since a timer for each request would cost every call.
    """
    for connection in tuple(connections):
        if not isinstance(connection, BoundedHeads):
            continue
        if connection.is_unread(now):
            connection.transport.abort()  # to close it would wait until all is read, and an answer that nobody reads is through for us
        elif not connection.transport.is_closing() and connection.is_overdue(now):
            connection.hang_up()
