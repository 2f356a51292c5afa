"""Anthropic's wire, as the peer speaks it: `POST /v1/messages`, by the same orders, and as strict as the real one.

It says what it is told, thinks and signs (`thinks=1`), calls the tools it was given (`calls=2`), and refuses what Anthropic would refuse:
see `claude_rules.py`. A thought that comes back changed, or without its signature, is refused, too.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from peers import claude_rules
from peers.script import Orders, usage_of, words_of
from peers.sending import half, send

if TYPE_CHECKING:
    from peers.upstream import Peer

THOUGHT = "They ask for a stone; „menhir“ it is. 石"
ARGUMENTS = {"place": "Carnac, „Ménec“ 石", "year": 1860}
STRUCTURED = {"answer": "a standing stone"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"}
KINDS |= {413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error"}


async def answer(peer: Peer, request: web.Request) -> web.StreamResponse:
    return await peer.answer(request, lambda *asked: _answer(peer, *asked), refuse=refusal)


async def counted(peer: Peer, request: web.Request) -> web.StreamResponse:
    """`POST /v1/messages/count_tokens`."""
    return await peer.answer(request, _counted, refuse=refusal)


async def _counted(request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    if "max_tokens" in body or "stream" in body or "messages" not in body:
        return refusal(400, orders, "max_tokens: Extra inputs are not permitted")
    return web.json_response({"input_tokens": 1000 + prompt_tokens(body)})


def refusal(status: int, orders: Orders, message: str = "") -> web.Response:
    headers = {"retry-after": orders.retry_after} if orders.retry_after else {}
    error = {
        "type": orders.kind or KINDS.get(status, "api_error"),
        "message": message or orders.says or f"refused as ordered with {status}, key sk-secret",
    }
    return web.json_response({"type": "error", "error": error, "request_id": "req_011"}, status=status, headers=headers)


async def _answer(peer: Peer, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    status, wrong = claude_rules.wrong(body, request.headers)
    if status:
        return refusal(status, Orders(), wrong)
    blocks = blocks_of(body, orders)
    words = sum(len(block.get("words", ())) or 1 for block in blocks)
    prompt = prompt_tokens(body)
    head = {"id": f"msg_{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:12]}", "type": "message", "role": "assistant"}
    head |= {"model": body["model"], "stop_sequence": None}
    reason = (
        orders.reason
        or ("stop_sequence" if orders.stopped else "")
        or ("tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn")
    )
    details = {"type": "refusal", "category": None, "explanation": "Not this."} if reason == "refusal" else None
    if body.get("stream"):
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        events = script(orders, head=head, blocks=blocks, prompt=prompt, words=words, end={"stop_reason": reason, "stop_details": details})
        for _ in range(orders.comments):
            await response.write(event_of({"type": "ping"}, orders))
        if await send(request, response, events, orders):
            peer.finished(request, prompt, words)
        return response
    if orders.malformed >= 0:
        return web.Response(body=b'{"id": "msg_', content_type="application/json")
    if orders.error >= 0:
        return web.json_response({"type": "error", "error": error_of(orders)})
    content = [{name: value for name, value in block.items() if name != "words"} for block in blocks]
    whole = {**head, "content": content, "stop_reason": reason, "stop_details": details, "usage": usage(orders, prompt, words)}
    if whole["usage"] is None:
        del whole["usage"]
    whole["stop_sequence"] = orders.stopped or None
    data = json.dumps(whole).encode()
    if orders.cut >= 0:
        return await half(request, data)
    peer.finished(request, prompt, words)
    return web.Response(body=data, content_type="application/json")


def blocks_of(body: dict[str, Any], orders: Orders) -> list[dict[str, Any]]:
    """What it says: thoughts, text, calls."""
    blocks: list[dict[str, Any]] = []
    if orders.thinks and body.get("thinking", {}).get("type") in {"enabled", "adaptive"}:
        blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": claude_rules.signature(THOUGHT)})
        blocks.append({"type": "redacted_thinking", "data": "c2VjcmV0"})
    choice = body.get("tool_choice") or {}
    called = [] if _is_answered(body) else (body.get("tools") or [])[: max(orders.calls, choice.get("type") in {"any", "tool"})]
    if choice.get("type") == "tool":
        called = [tool for tool in body["tools"] if tool["name"] == choice["name"]]
    if choice.get("type") == "none":
        called = []
    if choice.get("disable_parallel_tool_use"):
        called = called[:1]
    words = words_of(orders)
    if (body.get("output_config") or {}).get("format"):
        words = [json.dumps(STRUCTURED)[:9], json.dumps(STRUCTURED)[9:]]
    if choice.get("type") not in {"any", "tool"}:
        blocks.append({"type": "text", "text": "".join(words), "words": words})
    for number, tool in enumerate(called):
        blocks.append({"type": "tool_use", "id": f"toolu_{number}", "name": tool["name"], "input": {**ARGUMENTS, "number": number}})
    return blocks


def script(
    orders: Orders, *, head: dict[str, Any], blocks: list[dict[str, Any]], prompt: int, words: int, end: dict[str, Any]
) -> list[bytes]:
    """Every event of a stream, in order."""
    said = usage(orders, prompt, words)
    began = None if said is None else {**said, "output_tokens": min(1, said["output_tokens"])}
    message = {**head, "content": [], "stop_reason": None, **({} if began is None else {"usage": began})}
    events = [event_of({"type": "message_start", "message": message}, orders), event_of({"type": "ping"}, orders)]
    spoken = 0
    for index, block in enumerate(blocks):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}.get(block["type"], {})
        begun = {name: value for name, value in block.items() if name != "words"} | empty
        events.append(event_of({"type": "content_block_start", "index": index, "content_block": begun}, orders))
        for delta in deltas_of(block):
            if delta["type"] == "text_delta":
                if spoken == orders.error:
                    return [*events, event_of({"type": "error", "error": error_of(orders)}, orders)]
                if spoken == orders.malformed:
                    events.append(b"event: content_block_delta\ndata: {not json\n\n")
                spoken += 1
            events.append(event_of({"type": "content_block_delta", "index": index, "delta": delta}, orders))
        events.append(event_of({"type": "content_block_stop", "index": index}, orders))
    ended = {"type": "message_delta", "delta": {**end, "stop_sequence": orders.stopped or None}}
    if said is not None:
        ended["usage"] = {"output_tokens": said["output_tokens"]}
    if orders.finish:
        events.append(event_of(ended, orders))
    if orders.done:
        events.append(event_of({"type": "message_stop"}, orders))
    return events


def deltas_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    match block["type"]:
        case "text":
            return [{"type": "text_delta", "text": word} for word in block["words"]]
        case "thinking":
            thoughts = [{"type": "thinking_delta", "thinking": f"{word} "} for word in block["thinking"].split(" ")]
            thoughts[-1]["thinking"] = thoughts[-1]["thinking"][:-1]
            return [*thoughts, {"type": "signature_delta", "signature": block["signature"]}]
        case "tool_use":
            said = json.dumps(block["input"], ensure_ascii=False)
            return [{"type": "input_json_delta", "partial_json": part} for part in ("", said[:7], said[7:])]
    return []


def event_of(content: dict[str, Any], orders: Orders) -> bytes:
    end = "\r\n" if orders.crlf else "\n"
    return f"event: {content['type']}{end}data: {json.dumps(content, ensure_ascii=bool(orders.torn))}{end}{end}".encode()


def error_of(orders: Orders) -> dict[str, str]:
    return {"type": orders.kind or "api_error", "message": orders.says or "the model fell over"}


def usage(orders: Orders, prompt: int, words: int) -> dict[str, Any] | None:
    said = usage_of(orders, prompt, words)
    if said is None:
        return None
    return {
        "input_tokens": said["prompt_tokens"],
        "cache_creation_input_tokens": orders.written,
        "cache_read_input_tokens": orders.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": orders.written - orders.written // 3,
            "ephemeral_1h_input_tokens": orders.written // 3,
        },
        "output_tokens": said["completion_tokens"],
        "service_tier": "standard",
    }


def prompt_tokens(body: dict[str, Any]) -> int:
    texts = [json.dumps(message["content"]) for message in body["messages"]]
    return sum(len(text.split()) for text in texts) + len(json.dumps(body.get("system", "")).split())


def _is_answered(body: dict[str, Any]) -> bool:
    last = body["messages"][-1]["content"]
    return isinstance(last, list) and any(block.get("type") == "tool_result" for block in last)
