"""How much a caller may send, said before anybody reads it: heads to the server, bodies to the Django plane.

Django writes a whole body to disk before a view can ask who sent it, and the parser keeps a head in memory for as long as it grows.
(`/v1` counts its own bodies: see apps.assistants.front.admit.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from menhir.telemetry.calls import ARRIVED

MOST_HEAD_BYTES = 64 * 1024
OVERHEAD_BYTES = 1024 * 1024
"""What a form or JSON has around the file itself."""
MOST_FILES_AT_ONCE = 4
"""How many of the largest files a form without scripts may bring together; of smaller ones more."""
TOO_LARGE = "menhir.too_large"
"""Set in a scope whose body was over its limit, and was dropped."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOADS = re.compile(r"/api/v1/collections/")
FORMS = re.compile(r"/t/[^/]+/console/collections/")
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def most_bytes(path: str) -> int:
    """The limit of a body, by where it is sent."""
    upload: int = settings.MENHIR_UPLOAD_LIMIT_BYTES
    if UPLOADS.match(path):
        return upload + OVERHEAD_BYTES
    if FORMS.match(path):
        return MOST_FILES_AT_ONCE * upload + OVERHEAD_BYTES
    return int(settings.MENHIR_BODY_LIMIT_BYTES)


def bounded(application: Application) -> Application:
    """Drop what is over the limit and mark the scope: `menhir.wiring.middleware.body_limit` answers for it."""

    async def within_bounds(scope: Scope, receive: Receive, send: Send) -> None:
        most, received, dropped = most_bytes(scope["path"]), 0, False
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > most:
            scope[TOO_LARGE] = True

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, dropped
            if not dropped and TOO_LARGE not in scope:
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
    """uvicorn's protocol, which refuses a head that does not end."""

    heading = True
    head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take some bytes; hang up with 431 when they are still of a head that is too long."""
        self.head_bytes += len(data)
        super().data_received(data)
        if self.heading and self.head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self.heading, self.head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self.heading = False
        super().on_headers_complete()
        # Its task is made, and has not begun: what lies between is the wait for the loop.
        self.scope[ARRIVED] = time.perf_counter()  # type: ignore[literal-required]
