"""Anthropic's wire, as one of the front door's."""

from __future__ import annotations

from typing import Any

import orjson

from apps.assistants.front.asked import Asked
from apps.assistants.front.reply import Send
from apps.assistants.front.wires.frame import Decoded, Wire, WireReply
from apps.assistants.front.wires.messages import errors
from apps.assistants.front.wires.messages.decode import decode
from apps.assistants.front.wires.messages.encode import encode
from apps.assistants.front.wires.messages.stream import Events
from menhir.errors import MenhirError
from menhir.tenancy.principal import Principal


class MessagesReply(WireReply):
    """One answer in Anthropic's wire."""

    def __init__(self, wire: Wire, send: Send, asked: Asked) -> None:
        super().__init__(wire, send, asked)
        # Where Anthropic's clients look for it.
        self.wire_headers = [(b"request-id", asked.request_id)]
        self._sequences: list[str] = []
        self._events: Events | None = None

    def expect(self, sequences: list[str]) -> None:
        """Remember the stop sequences: an answer says which of them it ended with."""
        self._sequences = sequences

    async def whole(self, answer: dict[str, Any]) -> bytes:
        """Give the message."""
        return orjson.dumps(encode(answer, request_id=self.request_id, sequences=self._sequences))

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Give the events of one chunk."""
        return self.events.chunk(chunk)

    async def done(self) -> bytes:
        """Give the end of the message."""
        return self.events.done()

    def broken(self, said: dict[str, Any]) -> bytes:
        """Give the event `error`."""
        return self.events.broken(said)

    def comment(self) -> bytes:
        """Give a `ping`."""
        return self.events.ping()

    def error_body(self, error: MenhirError) -> bytes:
        """Give Anthropic's envelope."""
        return orjson.dumps(errors.body(error, self.request_id))

    def status(self, error: MenhirError) -> int:
        """Give the status, 529 for a busy upstream."""
        return errors.status(error)

    @property
    def events(self) -> Events:
        """The stream, begun when it is first asked for."""
        if self._events is None:
            self._events = Events(request_id=self.request_id, sequences=self._sequences)
        return self._events


class Messages(Wire):
    """`POST /v1/messages`."""

    name = "messages"
    path = "/v1/messages"
    replies = MessagesReply

    async def decode(self, fields: dict[str, Any], *, who: Principal, reply: WireReply) -> Decoded:
        """Give the chat call of a message."""
        body = decode(fields)
        if isinstance(reply, MessagesReply):
            reply.expect(body.get("stop") or [])
        return Decoded(body)
