"""Anthropic's wire, as one of the front door's."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson

from apps.assistants.front import admit, models
from apps.assistants.front.admit import Receive
from apps.assistants.front.asked import Asked, Scope
from apps.assistants.front.reply import Headers, Send
from apps.assistants.front.resolve import resolve
from apps.assistants.front.wires.frame import Decoded, Wire, WireReply
from apps.assistants.front.wires.messages import catalogue, errors, left
from apps.assistants.front.wires.messages.counting import count
from apps.assistants.front.wires.messages.decode import decode
from apps.assistants.front.wires.messages.encode import encode
from apps.assistants.front.wires.messages.stream import Events
from apps.gateway.weighing import input_characters
from menhir.errors import MenhirError
from menhir.metering import tokens
from menhir.tenancy.principal import Principal

COUNT: Final = "/v1/messages/count_tokens"
BETA: Final = re.compile(r"[A-Za-z0-9._-]+")
ESTIMATE: Final = (b"x-menhir-estimate", b"true")


class MessagesReply(WireReply):
    """One answer in Anthropic's wire."""

    def __init__(self, wire: Wire, send: Send, asked: Asked) -> None:
        super().__init__(wire, send, asked)
        # Where Anthropic's clients look for it.
        self.wire_headers = [(b"request-id", asked.request_id)]
        self._sequences: list[str] = []
        self._input_tokens = 0
        self._events: Events | None = None

    def expect(self, body: Mapping[str, Any]) -> None:
        """Remember the stop sequences, of which an answer names one, and how much is asked, which a stream says first."""
        self._sequences = body.get("stop") or []
        if body.get("stream"):
            self._input_tokens = tokens.of_characters(input_characters(dict(body)))

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

    def added(self, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """Give the request's id, and what is left of the caller's limits, by the names that Anthropic's clients know."""
        return [*self.wire_headers, *left.headers_of(headers, now=datetime.now(UTC))]

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
            self._events = Events(request_id=self.request_id, sequences=self._sequences, input_tokens=self._input_tokens)
        return self._events


class Messages(Wire):
    """`POST /v1/messages`."""

    name = "messages"
    path = "/v1/messages"
    replies = MessagesReply

    async def decode(self, fields: dict[str, Any], *, who: Principal, reply: WireReply) -> Decoded:
        """Give the chat call of a message."""
        body = decode(_with_betas(fields, reply.asked))
        if isinstance(reply, MessagesReply):
            reply.expect(body)
        return Decoded(body)

    async def beside(self, scope: Scope, asked: Asked, receive: Receive, reply: WireReply) -> None:
        """Answer `POST /v1/messages/count_tokens`, and `GET /v1/models` in Anthropic's shape."""
        path: str = scope["path"]
        if path == COUNT:
            await self._count(scope, asked, receive, reply)
        elif scope["method"] in {"GET", "HEAD"} and (path.rstrip("/") == models.PATH or path.startswith(f"{models.PATH}/")):
            who = await admit.principal(scope, asked)
            name = unquote(path.removeprefix(models.PATH).strip("/"))
            if name:
                await reply.json(catalogue.described(name, await models.since(who, name)))
            else:
                await reply.json(catalogue.page(await models.names(who), scope.get("query_string", b"")))
        else:
            await super().beside(scope, asked, receive, reply)

    async def _count(self, scope: Scope, asked: Asked, receive: Receive, reply: WireReply) -> None:
        if scope["method"] != "POST":
            await self.refuse_method(scope, reply)
            return
        received = time.perf_counter()
        who = await admit.principal(scope, asked)
        fields = admit.parsed(await admit.body(asked, receive))
        body = decode(_with_betas(fields, asked))
        call = admit.call(body, None, operation="chat", who=who, asked=asked, received=received, wire=self.name)
        await resolve(call)
        counted = await count(call)
        headers = [*(call.headers or ()), *(() if counted.exact else (ESTIMATE,))]
        await reply.json({"input_tokens": counted.tokens}, headers=headers)


def _with_betas(fields: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """The fields, and in `betas` what the header of that name asks to try out; an upstream that knows it is told.

    >>> _with_betas({"model": "m"}, Asked(anthropic_beta=b"one-2025, two"))
    {'model': 'm', 'betas': ['one-2025', 'two']}
    """
    if asked.anthropic_beta is None or "betas" in fields:
        return fields
    names = [name.strip() for name in asked.anthropic_beta.decode("latin-1").split(",")]
    return {**fields, "betas": [name for name in names if BETA.fullmatch(name)]}
