"""Gemini's wire, as the peer speaks it: `generateContent`, `streamGenerateContent?alt=sse` and `batchEmbedContents`, by the same orders.

Like Gemini it says with each event of a stream what was used so far, ends a stream by closing it, calls tools whole, and refuses words
that it does not know: see `gemini_rules.py`. A model whose name begins with `gemini-3` signs its calls and wants them back signed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from peers import gemini_rules
from peers.script import DIMENSIONS, Orders, usage_of, vector_of, words_of
from peers.sending import half, send

if TYPE_CHECKING:
    from peers.upstream import Peer

THOUGHT = "They ask for a stone; „menhir“ it is. 石"
ARGUMENTS = {"place": "Carnac, „Ménec“ 石", "year": 1860}
STRUCTURED = {"answer": "a standing stone"}
WORDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
WORDS |= {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


async def answer(peer: Peer, request: web.Request) -> web.StreamResponse:
    model, _, verb = request.match_info["asked"].rpartition(":")
    say = _embed if verb == "batchEmbedContents" else _answer
    return await peer.answer(request, lambda *asked: say(peer, model, *asked), refuse=refusal, model=model)


def refusal(status: int, orders: Orders, message: str = "") -> web.Response:
    return web.json_response({"error": error_of(status, orders, message)}, status=status)


def error_of(status: int, orders: Orders, message: str = "") -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if orders.retry_after:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{orders.retry_after}s"})
    if orders.code:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": orders.code, "domain": "googleapis.com"})
    text = message or orders.says or f"refused as ordered with {status}, key sk-secret"
    return {"code": status, "message": text, "status": orders.kind or WORDS.get(status, "UNKNOWN"), "details": details}


async def _answer(peer: Peer, model: str, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    stream = request.query.get("alt") == "sse"
    status, wrong = gemini_rules.wrong(body, request.headers, signs=model.startswith("gemini-3"))
    if status:
        return refusal(status, Orders(), wrong)
    words = words_of(orders)
    if "responseSchema" in body.get("generationConfig", {}):
        words = [json.dumps(STRUCTURED)[:9], json.dumps(STRUCTURED)[9:]]
    prompt = sum(len(str(part.get("text", part)).split()) for content in body["contents"] for part in content["parts"])
    head = {"modelVersion": model, "responseId": f"resp-{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:12]}"}
    events = script(body, orders, head=head, words=words, prompt=prompt, signs=model.startswith("gemini-3"))
    if stream:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if await send(request, response, [event_of(event, orders) for event in broken(events, orders)], orders):
            peer.finished(request, prompt, len(words))
        return response
    if orders.malformed >= 0:
        return web.Response(body=b'{"candidates": [', content_type="application/json")
    if orders.error >= 0:
        return web.json_response({"error": error_of(503, orders)})
    data = json.dumps(joined(events)).encode()
    if orders.cut >= 0:
        return await half(request, data)
    peer.finished(request, prompt, len(words))
    return web.Response(body=data, content_type="application/json")


def script(
    body: dict[str, Any], orders: Orders, *, head: dict[str, Any], words: list[str], prompt: int, signs: bool
) -> list[dict[str, Any]]:
    """Every event of a stream, in order: each is an answer in little."""
    count = body.get("generationConfig", {}).get("candidateCount", 1)
    used = usage_of(orders, prompt, len(words) * count)
    if orders.blocked:
        return [{**head, "promptFeedback": {"blockReason": orders.blocked}, "usageMetadata": {"promptTokenCount": prompt}}]

    def event(parts: list[dict[str, Any]], index: int, so_far: int, **more: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": index, **more}
        return {**head, "candidates": [candidate], **metadata(orders, used, so_far)}

    events = []
    if orders.thinks and body.get("generationConfig", {}).get("thinkingConfig"):
        events.append(event([{"text": THOUGHT, "thought": True}], 0, 0))
    for at, word in enumerate(words):
        events += [event([{"text": word}], index, at * count + index + 1) for index in range(count)]
    calls = calls_of(body, orders, signs=signs)
    end = {"finishReason": orders.reason or "STOP"} if orders.finish else {}
    if body.get("generationConfig", {}).get("responseLogprobs"):
        tokens = [{"token": word, "tokenId": 7, "logProbability": -0.5} for word in words[:1]]
        end["logprobsResult"] = {"chosenCandidates": tokens, "topCandidates": [{"candidates": tokens}]}
    last = calls or [{"text": "", **({"thoughtSignature": gemini_rules.SIGNATURE} if signs else {})}]
    events += [event(last if index == 0 else [{"text": ""}], index, len(words) * count, **end) for index in range(count)]
    return events


def calls_of(body: dict[str, Any], orders: Orders, *, signs: bool) -> list[dict[str, Any]]:
    """The calls it makes, unless it was just answered."""
    last = body["contents"][-1]["parts"]
    declared = [function for tool in body.get("tools", []) for function in tool.get("functionDeclarations", [])]
    chosen = body.get("toolConfig", {}).get("functionCallingConfig", {})
    mode, allowed = chosen.get("mode"), chosen.get("allowedFunctionNames")
    declared = [function for function in declared if allowed is None or function["name"] in allowed]
    if any("functionResponse" in part for part in last) or mode == "NONE":
        return []
    calls: list[dict[str, Any]] = [
        {"functionCall": {"name": function["name"], "args": {**ARGUMENTS, "number": number}}}
        for number, function in enumerate(declared[: max(orders.calls, mode == "ANY")])
    ]
    if signs:
        for number, call in enumerate(calls):
            call["functionCall"]["id"] = f"fc-{number}"
        for call in calls[:1]:
            call["thoughtSignature"] = gemini_rules.SIGNATURE
    return calls


def metadata(orders: Orders, used: dict[str, Any] | None, so_far: int) -> dict[str, Any]:
    """What was used so far; Google leaves out what is nought."""
    if used is None:
        return {}
    written = used["completion_tokens"] if orders.usage == "wild" else min(so_far, used["completion_tokens"])
    counts = {
        "promptTokenCount": used["prompt_tokens"],
        "candidatesTokenCount": written,
        "thoughtsTokenCount": 3 if orders.thinks else 0,
        "cachedContentTokenCount": orders.cached,
        "totalTokenCount": used["total_tokens"],
    }
    said: dict[str, Any] = {name: count for name, count in counts.items() if count or name == "promptTokenCount"}
    for name, whole, sound in (
        ("promptTokensDetails", used["prompt_tokens"], orders.heard),
        ("candidatesTokensDetails", written, orders.spoken),
    ):
        if sound:
            said[name] = [{"modality": "TEXT", "tokenCount": whole - sound}, {"modality": "AUDIO", "tokenCount": sound}]
    return {"usageMetadata": said}


def broken(events: list[dict[str, Any]], orders: Orders) -> list[dict[str, Any] | str]:
    """The events, and what goes wrong among them."""
    if orders.error >= 0:
        return [*events[: orders.error], {"error": error_of(503, orders)}]
    return [*events[: orders.malformed], "{not json", *events[orders.malformed :]] if orders.malformed >= 0 else list(events)


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The same as one answer."""
    whole = dict(events[-1])
    candidates: dict[int, dict[str, Any]] = {}
    for event in events:
        for candidate in event.get("candidates", ()):
            known = candidates.setdefault(candidate["index"], {"content": {"parts": [], "role": "model"}})
            for part in candidate["content"]["parts"]:
                parts = known["content"]["parts"]
                if parts and part.keys() == parts[-1].keys() == {"text"}:
                    parts[-1] = {"text": parts[-1]["text"] + part["text"]}
                else:
                    parts.append(part)
            known.update({name: value for name, value in candidate.items() if name != "content"})
    if candidates:
        whole["candidates"] = list(candidates.values())
    return whole


def event_of(content: dict[str, Any] | str, orders: Orders) -> bytes:
    end = "\n" if orders.crlf < 0 else "\r\n"  # Google's lines end in both
    return f"data: {content if isinstance(content, str) else json.dumps(content, ensure_ascii=bool(orders.torn))}{end}{end}".encode()


async def _embed(peer: Peer, model: str, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    if any(asked["model"] != f"models/{model}" for asked in body["requests"]):
        return refusal(400, Orders(), "The model of each request must be that of the path.")
    if len(body["requests"]) > gemini_rules.MOST_TEXTS:
        return refusal(400, Orders(), "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
    if orders.malformed >= 0:
        return web.Response(body=b"<html>", content_type="text/html")
    texts = ["".join(part["text"] for part in asked["content"]["parts"]) for asked in body["requests"]]
    sizes = [asked.get("outputDimensionality", DIMENSIONS) for asked in body["requests"]]
    used = usage_of(orders, sum(max(1, len(text.split())) for text in texts), 0)
    said: dict[str, Any] = {"embeddings": [{"values": vector_of(text, size)} for text, size in zip(texts, sizes, strict=True)]}
    if used is not None:
        said["usageMetadata"] = {"promptTokenCount": used["prompt_tokens"]}
    peer.finished(request, used["prompt_tokens"] if used else 0, 0)
    return web.json_response(said)
