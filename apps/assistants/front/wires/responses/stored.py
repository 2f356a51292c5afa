"""What is stored, shown again: a response, its stream, the items that led to it; and its deletion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

from apps.assistants import responses
from apps.assistants.errors import MalformedRequest, UnknownResponse, WrongMethod
from apps.assistants.front import admit
from apps.assistants.front.asked import Asked, Scope
from apps.assistants.front.wires.frame import METHOD_NOT_ALLOWED, WireReply
from apps.assistants.front.wires.responses.items import Item
from apps.assistants.front.wires.responses.stream import Stream
from apps.assistants.front.wires.responses.thoughts import unsealed
from apps.assistants.responses import Stored
from menhir.tenancy.principal import Principal

ITEMS_SHOWN: Final = 20
MOST_ITEMS: Final = 100
METHODS: Final[Mapping[str, tuple[str, ...]]] = {"": ("GET", "DELETE"), "input_items": ("GET",), "cancel": ("POST",)}
"""Of what lies below a response."""
NO_BUFFERING: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

UNENDED: Final[Mapping[str, Any]] = {"status": "in_progress", "completed_at": None, "incomplete_details": None, "usage": None, "output": []}


async def answer(scope: Scope, asked: Asked, reply: WireReply) -> bool:
    """Answer a request below `/v1/responses`; False when there is nothing at this path. Raises `UnknownResponse`."""
    _, _, _, *rest = scope["path"].rstrip("/").split("/")
    wanted, what = (*rest, "")[:2] if rest else ("", "")
    if not wanted or len(rest) > 2 or what not in METHODS:  # noqa: PLR2004 - an id, and what of it
        return False
    if scope["method"] not in METHODS[what]:
        allowed = ", ".join(METHODS[what])
        error = WrongMethod(f"Not allowed: {scope['method']} {scope['path']}. It takes {allowed}.")
        await reply.error(error, status=METHOD_NOT_ALLOWED, headers=[(b"allow", allowed.encode())])
        return True
    who = await admit.principal(scope, asked)
    response_id = responses.read_id(wanted)
    if response_id is None:
        raise _unknown(wanted)
    query = {name: values[-1] for name, values in parse_qs(scope.get("query_string", b"").decode("latin-1")).items()}
    match scope["method"], what:
        case "GET", "":
            await _show(await _found(who, response_id), query, reply)
        case "GET", _:
            await reply.json(await _listed(who, response_id, query))
        case "POST", _:
            await _found(who, response_id)
            raise MalformedRequest("Only a response that is made in the background can be cancelled: hang up instead.", param="id")
        case _:
            await responses.delete(who, response_id)
            await reply.json({"id": wanted, "object": "response", "deleted": True})
    return True


def events_of(stored: Stored) -> bytes:
    """Tell a stored response as a stream once more, each part at a stroke."""
    summary = any(item["type"] == "reasoning" and item["summary"] for item in stored.output)
    stream = Stream(stored.id, asked={}, first=len(stored.input), summary=summary, told=True)
    stream.response = {**stored.response, **UNENDED}
    out = [stream.take({"choices": [choice]}) for number, item in enumerate(stored.output) for choice in _choices(item, number)]
    return b"".join([*out, stream.end_as(stored.response), stream.last()])


def _choices(item: Item, number: int) -> Iterator[dict[str, Any]]:
    """An output item as the chat said it."""
    match item["type"]:
        case "reasoning":
            for part in (*item["summary"], *item["content"]):
                yield {"delta": {"reasoning_content": part["text"]}}
            yield {"delta": {"thinking_blocks": unsealed(item.get("encrypted_content"))}}
        case "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"index": number, "id": item["call_id"], "function": function, "extra_content": item.get("extra_content")}
            yield {"delta": {"tool_calls": [call]}}
        case _:
            for part in item["content"]:
                if part["type"] == "refusal":
                    yield {"delta": {"refusal": part["refusal"]}}
                else:
                    yield {
                        "delta": {"content": part["text"], "annotations": part["annotations"]},
                        "logprobs": {"content": part["logprobs"]},
                    }
            yield {"delta": {"extra_content": item.get("extra_content")}}


async def _show(stored: Stored, query: Mapping[str, str], reply: WireReply) -> None:
    if query.get("stream") != "true":
        await reply.json(stored.whole)
        return
    if "starting_after" in query:
        raise MalformedRequest("A stored response is streamed from its beginning.", param="starting_after")
    reply.native = True
    await reply.start(200, NO_BUFFERING)
    await reply.send(events_of(stored), more=False)


async def _found(who: Principal, response_id: UUID) -> Stored:
    stored = await responses.find(who, response_id)
    if stored is None:
        raise _unknown(responses.written(response_id))
    return stored


def _unknown(wanted: str) -> UnknownResponse:
    return UnknownResponse(f"Response with id '{wanted}' not found.", param="id")


async def _listed(who: Principal, response_id: UUID, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of all items that led to a response, those of the responses before it included."""
    order, limit, after = query.get("order", "desc"), query.get("limit", str(ITEMS_SHOWN)), query.get("after")
    if order not in {"asc", "desc"}:
        raise MalformedRequest("`order` is asc or desc.", param="order")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST_ITEMS)) and 1 <= int(limit) <= MOST_ITEMS):
        raise MalformedRequest(f"`limit` is a number from 1 to {MOST_ITEMS}.", param="limit")
    conversation = await responses.trace(who, response_id)
    if conversation is None:
        raise _unknown(responses.written(response_id))
    items: list[Item] = conversation.items[: conversation.before_output]
    if order == "desc":
        items.reverse()
    begin = 0
    if after is not None:
        begin = next((number for number, item in enumerate(items, 1) if item["id"] == after), 0)
        if not begin:
            raise MalformedRequest(f"There is no item `{after}` in this list.", param="after")
    page = items[begin : begin + int(limit)]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": begin + len(page) < len(items)}
