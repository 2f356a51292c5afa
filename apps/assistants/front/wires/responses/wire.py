"""The wire itself: a request for a response becomes a call of the chat, and its answer a response that is stored before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson

from apps.assistants import responses
from apps.assistants.errors import MalformedRequest, PreviousResponseGone
from apps.assistants.front.admit import Receive
from apps.assistants.front.asked import Asked, Scope
from apps.assistants.front.wires.frame import Decoded, Wire, WireReply
from apps.assistants.front.wires.responses import items, parameters, stored
from apps.assistants.front.wires.responses.items import Item
from apps.assistants.front.wires.responses.messages import messages_of
from apps.assistants.front.wires.responses.stream import Stream
from apps.assistants.responses import Stored
from apps.gateway import wire as chat
from menhir.errors import MenhirError
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import Principal


class ResponsesReply(WireReply):
    """A response on its way to the client. `expect` comes before anything that is answered; errors may come without it."""

    def expect(self, response_id: UUID, *, who: Principal, fields: Mapping[str, Any], given: list[Item], previous: UUID | None) -> None:
        """Remember what is answered: the response's id, what it repeats of the request, its input, and what it goes on from."""
        self._id = response_id
        self._who = who
        self._input = given
        self._previous = previous
        self._stream = Stream(
            response_id,
            asked=parameters.repeated(fields),
            first=len(given),
            summary=parameters.wants_summary(fields),
            told=bool(fields.get("stream")),
        )

    async def whole(self, answer: dict[str, Any]) -> bytes:
        self._stream.take(answer)
        self._stream.finish(at=datetime.now(UTC))
        await self._keep()
        return orjson.dumps(self._stream.whole)

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return self._stream.take(chunk)

    async def done(self) -> bytes:
        events = self._stream.finish(at=datetime.now(UTC))
        try:
            await self._keep()
        except MenhirError as error:
            # It says that it is stored and can be gone on from. Where that cannot be kept, it has failed.
            return events + self.broken(chat.error_body(error)["error"])
        return events + self._stream.last()

    def broken(self, said: dict[str, Any]) -> bytes:
        return self._stream.break_off(said)

    def error_body(self, error: MenhirError) -> bytes:
        return orjson.dumps(chat.error_body(error))

    async def _keep(self) -> None:
        response = self._stream.response
        if response["store"]:
            await responses.keep(self._who, Stored(self._id, self._input, self._stream.items, response), previous=self._previous)


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
        messages = messages_of([*earlier, *read])
        if fields.get("instructions"):
            messages.insert(0, {"role": "system", "content": fields["instructions"]})
        body["messages"] = messages
        if fields.get("stream"):
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if isinstance(reply, ResponsesReply):
            reply.expect(response_id, who=who, fields=fields, given=read, previous=previous)
        return Decoded(body)

    async def beside(self, scope: Scope, asked: Asked, receive: Receive, reply: WireReply) -> None:
        """Show, list or delete what is stored."""
        if not await stored.answer(scope, asked, reply):
            await super().beside(scope, asked, receive, reply)


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
