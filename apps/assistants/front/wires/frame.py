"""What every wire is made of: the way in, and the way back. The contract stands in the package's docstring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec
import orjson

from apps.assistants.errors import UnknownEndpoint, WrongMethod
from apps.assistants.front.admit import Receive
from apps.assistants.front.asked import Asked, Scope
from apps.assistants.front.reply import EVENT_STREAM, Headers, Reply, Send
from apps.gateway.call import Call, Operation
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.wire import DONE, loaded
from menhir.errors import MenhirError, status_of
from menhir.tenancy.principal import Principal

METHOD_NOT_ALLOWED: Final = 405


class Decoded(msgspec.Struct):
    """The call that a client's body comes to."""

    body: dict[str, Any]
    operation: Operation = "chat"
    raw: bytes | None = None
    """The same as bytes, when they are the client's own."""


class WireReply(Reply):
    """One answer in a client's wire: it takes the chat answer that the relay sends, and sends the client's.

    No abstract class: each call asks whether its reply is one of these, which an abstract class answers three times as slowly.
    """

    def __init__(self, wire: Wire, send: Send, asked: Asked) -> None:
        super().__init__(send, request_id=asked.request_id)
        self.wire = wire
        self.asked = asked
        self.call: Call | None = None
        """What is answered, once it is admitted."""
        self.wire_headers: Headers = []
        self.native = False
        self._splitter = EventSplitter()
        self._held: tuple[int, Headers] | None = None
        self._parts: list[bytes] = []

    @property
    def request_id(self) -> str:
        """The id that every answer and error names."""
        return self.asked.request_id.decode()

    async def whole(self, answer: dict[str, Any]) -> bytes:
        """Give the whole answer."""
        raise NotImplementedError

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Give the events that one chunk of the chat comes to."""
        raise NotImplementedError

    async def done(self) -> bytes:
        """Give the events that end the stream well."""
        raise NotImplementedError

    def broken(self, said: dict[str, Any]) -> bytes:
        """Give the event that says that the stream broke, from a chat stream's `error`."""
        raise NotImplementedError

    def error_body(self, error: MenhirError) -> bytes:
        """Give the body that says what went wrong before there was an answer."""
        raise NotImplementedError

    def status(self, error: MenhirError) -> int:
        """Give the status that goes with it."""
        return status_of(error)

    def added(self, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """Give the headers that this wire adds to those that every answer has."""
        return self.wire_headers

    def comment(self) -> bytes:
        """Give what keeps the connection alive."""
        return b": \n\n"

    async def start(self, status: int, headers: Headers) -> None:
        """Begin a stream at once; hold a whole answer's head until its length is known."""
        if self.native or any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers):
            await super().start(status, [*headers, *self.added(headers)])
        else:
            self._held = status, headers

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Take a part of the chat answer, and send what it comes to."""
        if self.native:
            await super().send(data, more)
        elif self._held is not None:
            self._parts.append(data)
            if not more:
                await self._send_whole(*self._held)
        else:
            out = await self._translated(data)
            if out or not more:
                await super().send(out, more)

    async def error(self, error: MenhirError, *, status: int | None = None, headers: Headers | None = None) -> None:
        """Say what went wrong, in the client's shape."""
        await super().error(error, status=status or self.status(error), headers=[*(headers or ()), *self.added(error.headers)])

    async def json(self, value: object, *, status: int = 200, headers: Headers | None = None) -> None:
        """Answer with a value that is in the client's wire already."""
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        await self._answer(status, [(b"content-type", b"application/json"), *(headers or ())], body)

    async def _send_whole(self, status: int, headers: Headers) -> None:
        body = await self.whole(loaded(b"".join(self._parts)))
        self._held = None
        await self._answer(status, [header for header in headers if header[0] != b"content-length"], body)

    async def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        await super().start(status, [*headers, (b"content-length", b"%d" % len(body)), *self.added(headers)])
        await super().send(body, more=False)

    async def _translated(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for event in self._splitter.feed(data):
            said = data_of(event)
            if said is None:
                out.append(self.comment())
            elif said == DONE:
                out.append(await self.done())
            else:
                chunk = loaded(said)
                error = chunk.get("error") if isinstance(chunk, dict) else None
                if error:
                    out.append(self.broken(error if isinstance(error, dict) else {"message": str(error)}))
                elif isinstance(chunk, dict):
                    out.append(self.chunk(chunk))
        return b"".join(out)


class Wire(ABC):
    """A client's wire at its path. It keeps nothing between two requests."""

    name: ClassVar[str]
    path: ClassVar[str]
    replies: ClassVar[type[WireReply]]

    def reply(self, send: Send, asked: Asked) -> WireReply:
        """Make the way back."""
        return self.replies(self, send, asked)

    @abstractmethod
    async def decode(self, fields: dict[str, Any], *, who: Principal, reply: WireReply) -> Decoded:
        """Give the call that these fields ask for; raise MalformedRequest naming the field."""

    async def beside(self, scope: Scope, asked: Asked, receive: Receive, reply: WireReply) -> None:
        """Answer whatever is not a `POST` to the wire's own path."""
        if scope["path"] == self.path:
            await self.refuse_method(scope, reply)
            return
        raise UnknownEndpoint(f"Unknown request URL: {scope['method']} {scope['path']}.")

    async def refuse_method(self, scope: Scope, reply: WireReply, *, allowed: bytes = b"POST") -> None:
        """Say which methods a path takes."""
        refused = WrongMethod(f"Not allowed: {scope['method']} {scope['path']}. It takes {allowed.decode()}.")
        await reply.error(refused, status=METHOD_NOT_ALLOWED, headers=[(b"allow", allowed)])


def sse(event: str, value: object) -> bytes:
    r"""Write one event as the wires with named events have it.

    >>> sse("ping", {"type": "ping"})
    b'event: ping\ndata: {"type":"ping"}\n\n'
    """
    return b"event: " + event.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
