"""Asks a gateway by the litellm library, and prints what it was told: python litellm_asks.py <origin> <key>. It imports nothing of ours."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

ORIGIN, KEY = sys.argv[1:3]
MESSAGES = [{"role": "user", "content": "What is a menhir?"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
OPENAI: dict[str, Any] = {"api_base": f"{ORIGIN}/v1", "api_key": KEY, "max_retries": 0}
ANTHROPIC: dict[str, Any] = {"api_base": ORIGIN, "api_key": KEY, "max_retries": 0}
litellm.suppress_debug_info = True
litellm.telemetry = False


def said(model: str, **more: Any) -> dict[str, Any]:
    whole = litellm.completion(model=model, messages=MESSAGES, **more)
    stream = litellm.completion(model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **more)
    built = litellm.stream_chunk_builder(list(stream), messages=MESSAGES)
    calling = litellm.completion(model=model.replace("plain", "calling"), messages=MESSAGES, tools=TOOLS, **more)
    told = litellm.completion(model=model.replace("plain", "calling"), messages=MESSAGES, tools=TOOLS, stream=True, **more)
    called = litellm.stream_chunk_builder(list(told), messages=MESSAGES)
    return {
        "whole": whole.choices[0].message.content,
        "tokens": whole.usage.completion_tokens,
        "stream": built.choices[0].message.content,
        "calls": [json.loads(call.function.arguments) for call in calling.choices[0].message.tool_calls],
        "told": [json.loads(call.function.arguments) for call in called.choices[0].message.tool_calls],
    }


def refused(**asked: Any) -> str | None:
    try:
        answer = litellm.completion(**{"messages": MESSAGES, **OPENAI, **asked})
        if asked.get("stream"):
            list(answer)
    except Exception as error:  # noqa: BLE001 - which one it is, is the answer
        return type(error).__name__
    return None


async def awaited() -> str:
    answer = await litellm.acompletion(model="openai/plain", messages=MESSAGES, **OPENAI)
    return str(answer.choices[0].message.content)


print(
    json.dumps(
        {
            "openai": said("openai/plain", **OPENAI),
            "anthropic": said("anthropic/plain", **ANTHROPIC),
            "async": asyncio.run(awaited()),
            "embedding": len(litellm.embedding(model="openai/plain", input=["a", "b"], **OPENAI).data),
            "unknown": refused(model="openai/nowhere"),
            "stranger": refused(model="openai/plain", api_key="sk-wrong"),
            "unknown message": refused(model="anthropic/nowhere", api_base=ORIGIN),
            "retried": litellm.completion(model="openai/busy", messages=MESSAGES, **{**OPENAI, "max_retries": 2}).choices[0].finish_reason,
        }
    )
)
