"""The way back to the client: ASGI messages out, and every error in OpenAI's shape."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Self

import orjson

from apps.gateway import wire
from apps.gateway.call import Respond
from apps.gateway.errors import UpstreamError
from menhir.errors import MenhirError, Unavailable, status_of
from menhir.telemetry.calls import answered

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")
NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
EVENT_STREAM: Final = b"text/event-stream"
EACH_ANSWERS_OWN: Final = frozenset({NO_SNIFFING[0], b"x-request-id"})


class InternalError(MenhirError):
    """Something went wrong on our side. The request id helps us to find out what."""

    code = "internal_error"


class ShuttingDown(Unavailable):
    """This server is being restarted. Try again: another answers."""

    code = "shutting_down"


class Reply:
    """One answer to one request; the gateway's `Respond`."""

    __slots__ = ("_counts", "_request_id", "_send", "ended", "started", "streams")

    def __init__(self, send: Send, *, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self._counts = True
        self.started = False
        self.ended = False
        self.streams = False

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line, with the request's id."""
        self.started = True
        if self._counts:
            answered(status)
        for name, value in headers:  # it stands first
            if name == b"content-type":
                self.streams = value.startswith(EVENT_STREAM)
                break
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, NO_SNIFFING, (b"x-request-id", self._request_id)]}
        )

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Send a part of the body; the last one says `more=False`."""
        self.ended = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def json(self, value: object) -> None:
        """Answer 200 with this value."""
        body = orjson.dumps(value)
        await self.start(200, [JSON, (b"content-length", b"%d" % len(body))])
        await self.send(body, more=False)

    async def error(self, error: MenhirError, *, status: int | None = None, headers: Headers | None = None) -> None:
        """Say what went wrong: as the answer, or as the last event of a stream that has begun.

        A whole answer that broke off is left unfinished, so that the server cuts the connection and the client sees it.
        """
        if self.ended:
            return
        if self.started:
            if self.streams:
                await self.send(wire.error_event(error), more=False)
            return
        body = self.error_body(error)
        every = [JSON, (b"content-length", b"%d" % len(body)), *error.headers, *(headers or ())]
        if isinstance(error, UpstreamError) and error.retry_after_seconds is not None:
            every.append((b"retry-after", b"%d" % max(1, round(error.retry_after_seconds))))
        await Reply.start(self, status or status_of(error), every)
        await Reply.send(self, body, more=False)

    def onto(self, respond: Respond) -> Self:
        """Give the same way back, leading to somebody who keeps what the client would be sent."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] not in EACH_ANSWERS_OWN]
                await respond.start(message["status"], headers)
            else:
                await respond.send(message.get("body", b""), message.get("more_body", False))

        other = copy.copy(self)
        other._send, other._counts = send, False  # noqa: SLF001 - one of ourselves
        return other

    def error_body(self, error: MenhirError) -> bytes:
        """Give the body that says what went wrong."""
        return orjson.dumps(wire.error_body(error))


class Bare:
    """The way back for what is in the client's own wire already."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line."""
        await Reply.start(self._reply, status, headers)

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Send a part of the body."""
        await Reply.send(self._reply, data, more)
