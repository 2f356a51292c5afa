"""The older wire, as one of the front door's."""

from __future__ import annotations

from typing import Any

import orjson

from apps.assistants.front.asked import Asked
from apps.assistants.front.reply import Send
from apps.assistants.front.wires.completions.decode import decode, prompt_of
from apps.assistants.front.wires.completions.encode import Encoder
from apps.assistants.front.wires.frame import Decoded, Wire, WireReply
from apps.gateway import routing
from apps.gateway import wire as chat
from menhir.errors import MenhirError
from menhir.tenancy.principal import Principal

NATIVE = "openai"
"""The kind of provider whose servers may know this wire themselves."""


class CompletionsReply(WireReply):
    """One answer as a completion."""

    def __init__(self, wire: Wire, send: Send, asked: Asked) -> None:
        super().__init__(wire, send, asked)
        self.encoder = Encoder()

    async def whole(self, answer: dict[str, Any]) -> bytes:
        """Give the completion."""
        return orjson.dumps(self.encoder.encode(answer, part="message"))

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Give the completion's chunk."""
        return b"data: " + orjson.dumps(self.encoder.encode(chunk, part="delta")) + b"\n\n"

    async def done(self) -> bytes:
        """Give the end."""
        return chat.DONE_EVENT

    def broken(self, said: dict[str, Any]) -> bytes:
        """Give the error as it came: the two wires say it alike."""
        return b"data: " + orjson.dumps({"error": said}) + b"\n\n"

    def error_body(self, error: MenhirError) -> bytes:
        """Give OpenAI's shape."""
        return orjson.dumps(chat.error_body(error))


class Completions(Wire):
    """`POST /v1/completions`."""

    name = "completions"
    path = "/v1/completions"
    replies = CompletionsReply

    async def decode(self, fields: dict[str, Any], *, who: Principal, reply: WireReply) -> Decoded:
        """Give the call: as it is where every target can take it so, else as a chat."""
        model = fields.get("model")
        route = await routing.resolve(who.tenant_id, model) if isinstance(model, str) and model and "\x00" not in model else None
        targets = (*route.targets, *route.shadows) if route is not None else ()
        # Guardrails read what a chat says: under them a completion is one.
        if route is not None and targets and route.guards is None and all(target.kind == NATIVE for target in targets):
            reply.native = True
            return Decoded(fields, operation="completions")
        if isinstance(reply, CompletionsReply) and fields.get("echo") is True:
            reply.encoder = Encoder(echo=prompt_of(fields))
        return Decoded(decode(fields))
