"""The wire itself: a request for a response becomes a call of the chat, and its answer a response that is stored before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson

from apps.assistants import responses
from apps.assistants.errors import MalformedRequest, PreviousResponseGone
from apps.assistants.front.admit import Receive
from apps.assistants.front.asked import Asked, Scope
from apps.assistants.front.reply import Send
from apps.assistants.front.wires.frame import Decoded, Wire, WireReply, sse
from apps.assistants.front.wires.responses import items, parameters, stored
from apps.assistants.front.wires.responses.copies import Copy, update
from apps.assistants.front.wires.responses.items import Item
from apps.assistants.front.wires.responses.messages import messages_of
from apps.assistants.front.wires.responses.stream import Stream
from apps.assistants.responses import Stored
from apps.gateway import wire as chat
from menhir.errors import MenhirError
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import Principal


@dataclass(frozen=True, slots=True)
class Expected:
    """What is answered."""

    id: UUID
    who: Principal
    given: list[Item]
    previous: UUID | None
    stream: Stream
    copies: Sequence[Copy]
    """Where the texts of the input went."""


class ResponsesReply(WireReply):
    """A response on its way to the client. `expect` comes before anything that is answered; errors may come without it."""

    def __init__(self, wire: Wire, send: Send, asked: Asked) -> None:
        super().__init__(wire, send, asked)
        # A list, so that a copy of this way back, which leads to several clients of one call, knows it as well.
        self._expected: list[Expected] = []
        self._begun = False

    def expect(
        self,
        response_id: UUID,
        *,
        who: Principal,
        fields: Mapping[str, Any],
        given: list[Item],
        previous: UUID | None,
        copies: Sequence[Copy] = (),
        instructions: dict[str, Any] | None = None,
    ) -> None:
        """Remember what is answered: the response's id, what it repeats of the request, its input, and what it goes on from."""
        stream = Stream(
            response_id,
            asked=parameters.repeated(fields),
            first=len(given),
            summary=parameters.wants_summary(fields),
            told=bool(fields.get("stream")),
        )
        if instructions is not None:
            copies = [*copies, Copy([(stream.response, "instructions")], instructions, "content")]
        self._expected.append(Expected(response_id, who, given, previous, stream, copies))

    async def whole(self, answer: dict[str, Any]) -> bytes:
        """Give the response, once it is stored."""
        expected = self._begin()
        expected.stream.take(answer)
        expected.stream.finish(at=datetime.now(UTC))
        await _keep(expected)
        return orjson.dumps(expected.stream.whole)

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Give the events of one chunk."""
        return self._begin().stream.take(chunk)

    async def done(self) -> bytes:
        """Give the end of the response, once it is stored: what cannot be gone on from has failed."""
        expected = self._begin()
        events = expected.stream.finish(at=datetime.now(UTC))
        try:
            await _keep(expected)
        except BaseException:
            expected.stream.hold(events)
            raise
        return events + expected.stream.last()

    def broken(self, said: dict[str, Any]) -> bytes:
        """Give the response as it failed; who only followed another's call knows of an error and no more."""
        if self._expected:
            return self._expected[0].stream.break_off(said)
        error = {name: said.get(name) for name in ("code", "message", "param")}
        return sse("error", {"type": "error", **error, "sequence_number": 0})

    def _begin(self) -> Expected:
        """Give what is answered. When the answer begins, guardrails have been asked, and what they left is what is stored."""
        (expected,) = self._expected
        guard = self.call.guard if self.call is not None else None
        if guard is not None and not self._begun:
            update(expected.copies, expected.stream.response, guard)
        self._begun = True
        return expected

    def error_body(self, error: MenhirError) -> bytes:
        """Give OpenAI's envelope."""
        return orjson.dumps(chat.error_body(error))


class Responses(Wire):
    """OpenAI's Responses API."""

    name: ClassVar[str] = "responses"
    path: ClassVar[str] = "/v1/responses"
    replies: ClassVar[type[WireReply]] = ResponsesReply

    async def decode(self, fields: dict[str, Any], *, who: Principal, reply: WireReply) -> Decoded:
        """Give the chat that these fields ask for, with the conversation that it goes on from."""
        body = parameters.chat_of(fields)
        response_id = uuid7()
        previous, earlier = await _earlier(who, fields.get("previous_response_id"))
        given = fields.get("input")
        known = await _known(who, items.references(given))
        read = items.read([] if given is None else given, response_id=response_id, known=known)
        if not read and not earlier and fields.get("prompt") is None:
            raise MalformedRequest("`input` is required: a text or a list of items.", param="input")
        messages, copies = messages_of([*earlier, *read])
        instructions = {"role": "system", "content": fields["instructions"]} if fields.get("instructions") else None
        body["messages"] = messages if instructions is None else [instructions, *messages]
        if fields.get("stream"):
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if isinstance(reply, ResponsesReply):
            reply.expect(response_id, who=who, fields=fields, given=read, previous=previous, copies=copies, instructions=instructions)
        return Decoded(body)

    async def beside(self, scope: Scope, asked: Asked, receive: Receive, reply: WireReply) -> None:
        """Show, list or delete what is stored."""
        if not await stored.answer(scope, asked, reply):
            await super().beside(scope, asked, receive, reply)


async def _keep(expected: Expected) -> None:
    stream = expected.stream
    if stream.response["store"]:
        stored = Stored(expected.id, expected.given, stream.items, stream.response)
        await responses.keep(expected.who, stored, previous=expected.previous)


async def _earlier(who: Principal, wanted: object) -> tuple[UUID | None, list[Item]]:
    """The response to go on from, and the conversation up to it. Its instructions stay behind, as OpenAI has it."""
    if wanted is None:
        return None, []
    if not isinstance(wanted, str):
        raise MalformedRequest("`previous_response_id` is the id of a response.", param="previous_response_id")
    found = responses.read_id(wanted)
    conversation = await responses.trace(who, found) if found is not None else None
    if found is None or conversation is None:
        raise PreviousResponseGone(f"Previous response with id '{items.short(wanted)}' not found.", param="previous_response_id")
    if conversation.missing is not None:
        gone = responses.written(conversation.missing)
        raise PreviousResponseGone(
            f"The conversation up to '{wanted}' goes back to '{gone}', which is stored no longer.", param="previous_response_id"
        )
    return found, conversation.items


async def _known(who: Principal, ids: Iterable[str]) -> Mapping[str, Item]:
    """The stored items that an input refers to."""
    holders = {holder for item in ids if (holder := items.response_of(item)) is not None}
    if not holders:
        return {}
    found = await responses.find_all(who, holders)
    return {item["id"]: item for response in found.values() for item in (*response.input, *response.output)}
