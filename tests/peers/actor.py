"""A model server that says what it was told to: the deltas of a chat, word for word, whole or streamed.

    with Actor() as actor:
        actor.plays([{"content": "Hello"}, {"content": " there"}])
        actor.plays([call("f", '{"a": 1}')], finish="tool_calls")

Each request takes the next of these scenes, the last one again and again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from peers.upstream import Peer, Upstream

Delta = dict[str, Any]
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@dataclass
class Scene:
    """One answer."""

    deltas: list[Delta]
    finish: str = "stop"
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    cut: bool = False
    """Break off after the deltas."""


def call(name: str, arguments: str, *, number: int = 0, call_id: str = "") -> Delta:
    """A delta that calls a function."""
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": number, "id": call_id or f"call_{name}", "type": "function", "function": function}]}


def more(arguments: str, *, number: int = 0) -> Delta:
    """A delta that goes on with the arguments of a call."""
    return {"tool_calls": [{"index": number, "function": {"arguments": arguments}}]}


def message_of(deltas: list[Delta]) -> dict[str, Any]:
    """What the deltas add up to."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for delta in deltas:
        for name in ("content", "refusal", "reasoning_content"):
            if name in delta:
                message[name] = (message.get(name) or "") + delta[name]
        message["annotations"] = [*message.get("annotations", []), *delta.get("annotations", [])]
        for part in delta.get("tool_calls", ()):
            calls = message.setdefault("tool_calls", [])
            if part["index"] == len(calls):
                calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
            else:
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return message


class _Stage(Peer):
    def __init__(self) -> None:
        super().__init__()
        self.scenes: list[Scene] = []

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        with self._count() as stats:
            stats.requests += 1
            stats.bodies.append(body)
        scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "actor-1"}
        if not body.get("stream"):
            choice = {
                "index": 0,
                "message": message_of(scene.deltas),
                "finish_reason": scene.finish,
                "logprobs": {"content": scene.logprobs},
            }
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        choices: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} for delta in scene.deltas]
        if scene.logprobs:
            choices[-1]["logprobs"] = {"content": scene.logprobs}
        if not scene.cut:
            choices.append({"delta": {}, "finish_reason": scene.finish})
        for choice in choices:
            await _tell(response, {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]})
        if scene.cut:
            if request.transport is not None:
                request.transport.abort()
            return response
        await _tell(response, {**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _tell(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


class Actor(Upstream):
    """The peer in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: _Stage = _Stage()

    def plays(self, deltas: list[Delta], **more: Any) -> None:
        """Say this next."""
        self.peer.scenes.append(Scene(deltas, **more))

    def reset(self) -> None:
        """Forget what was counted, and the scenes."""
        super().reset()
        self.peer.scenes.clear()
