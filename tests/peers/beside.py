"""What else the peer speaks of OpenAI's wire beside chat and embeddings: completions, moderations; and a rerank as Jina and Cohere have it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from peers.script import Orders, event_of, usage_of, words_of
from peers.sending import send

if TYPE_CHECKING:
    from peers.upstream import Peer

BAD = "violence"


async def completions(peer: Peer, request: web.Request) -> web.StreamResponse:
    return await peer.answer(request, lambda *asked: _completions(peer, *asked))


async def moderations(peer: Peer, request: web.Request) -> web.StreamResponse:
    return await peer.answer(request, lambda *asked: _moderations(peer, *asked))


async def rerank(peer: Peer, request: web.Request) -> web.StreamResponse:
    return await peer.answer(request, lambda *asked: _rerank(peer, *asked))


async def _completions(peer: Peer, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    words = words_of(orders)
    starts = [prompt for prompt in prompts for _ in range(body.get("n") or 1)]
    prompt = sum(len(str(text).split()) for text in prompts)
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": body["model"]}
    usage = usage_of(orders, prompt, len(words) * len(starts))
    if not body.get("stream"):
        choices = [
            {"index": index, "text": (start if body.get("echo") else "") + "".join(words), "logprobs": None, "finish_reason": "stop"}
            for index, start in enumerate(starts)
        ]
        peer.finished(request, prompt, len(words) * len(starts))
        return web.json_response({**head, "choices": choices, **({"usage": usage} if usage else {})})
    asked = (body.get("stream_options") or {}).get("include_usage") is True
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    said = [{"index": index, "text": word, "logprobs": None, "finish_reason": None} for word in words for index in range(len(starts))]
    said += [{"index": index, "text": "", "logprobs": None, "finish_reason": "stop"} for index in range(len(starts))]
    events = [event_of({**head, "choices": [choice], "usage": None}, orders) for choice in said]
    events += [event_of({**head, "choices": [], "usage": usage}, orders)] if asked and usage else []
    if await send(request, response, [*events, event_of("[DONE]", orders)], orders):
        peer.finished(request, prompt, len(words) * len(starts))
    return response


async def _moderations(peer: Peer, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    inputs = body["input"] if isinstance(body["input"], list) and isinstance(body["input"][0], str) else [body["input"]]
    results = [
        {"flagged": BAD in str(text), "categories": {BAD: BAD in str(text)}, "category_scores": {BAD: 0.9 if BAD in str(text) else 0.01}}
        for text in inputs
    ]
    await asyncio.sleep(0)
    peer.finished(request, 0, 0)
    return web.json_response({"id": "modr-1", "model": body["model"], "results": results})


async def _rerank(peer: Peer, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
    """Those that share most words with the query come first; `usage=cohere` bills as Cohere does, else as Jina does."""
    asked = set(body["query"].lower().split())
    texts = [document if isinstance(document, str) else str(document.get("text")) for document in body["documents"]]
    scores = [len(asked & set(text.lower().split())) / (len(asked) or 1) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])[: body.get("top_n") or len(texts)]
    results = [
        {
            "index": index,
            "relevance_score": scores[index],
            **({"document": {"text": texts[index]}} if body.get("return_documents") else {}),
        }
        for index in order
    ]
    read = sum(len(text.split()) for text in [body["query"], *texts])
    await asyncio.sleep(0)
    peer.finished(request, read, 0)
    bill = {
        "cohere": {"meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": read}}},
        "none": {"meta": {"billed_units": {"search_units": 1}}},
    }.get(orders.usage, {"usage": {"total_tokens": read}})
    return web.json_response({"id": "rr-1", "model": body["model"], "results": results, **bill})
