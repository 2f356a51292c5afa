"""A whole answer: Anthropic's message as OpenAI's chat completion."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from apps.gateway.errors import UpstreamDown
from apps.gateway.upstreams.anthropic.encode import ANSWER_TOOL
from apps.gateway.upstreams.anthropic.errors import error_in
from apps.gateway.upstreams.openai.answer import Answer, tool_call, usage_said
from apps.gateway.wire import decoded

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
UNTOLD = frozenset({"pause_turn", "model_context_window_exceeded"})
"""Reasons that OpenAI's words do not tell from others: they are said beside."""
THINKING = ("thinking", "redacted_thinking")


class Said(msgspec.Struct):
    """An answer, as far as it is understood; an error has neither content nor usage."""

    id: str = ""
    model: str = ""
    content: list[dict[str, Any]] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    type: str = ""
    error: Any = None


_said = msgspec.json.Decoder(Said)


def whole(body: bytes, *, by_tool: bool, provider: str, created: int) -> bytes:
    """Give the completion; raises UpstreamDown for what is no message, or the error that stands in its place."""
    try:
        said = decoded(_said, body)
    except ValueError as e:
        raise UpstreamDown(f"The upstream `{provider}` answered with something that is not a message.") from e
    if said.error:
        raise error_in(said.error)
    if said.type != "message":
        raise UpstreamDown(f"The upstream `{provider}` answered with something that is not a message.")
    message = _message(said, by_tool=by_tool)
    reason = reason_of(said.stop_reason, calls=bool(message.get("tool_calls")))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    if said.stop_sequence is not None:  # chat has no word for which of them it was
        choice["stop_sequence"] = said.stop_sequence
    if said.stop_reason in UNTOLD:
        choice["stop_reason"] = said.stop_reason
    return Answer(id=said.id, model=said.model, created=created).whole([choice], usage_of(said.usage))


def _message(said: Said, *, by_tool: bool) -> dict[str, Any]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    for block in said.content:
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            if by_tool and block.get("name") == ANSWER_TOOL:
                texts = [arguments]
            else:
                calls.append(tool_call(id=str(block.get("id")), name=str(block.get("name")), arguments=arguments))
        elif kind in THINKING:
            thoughts.append(block)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": refusal_of(said.stop_details)}
    if thoughts:
        message["reasoning_content"] = "".join(str(block.get("thinking") or "") for block in thoughts)
        message["thinking_blocks"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def reason_of(stop_reason: str | None, *, calls: bool) -> str:
    """Give OpenAI's reason; an answer given by a tool of ours is no call of the client's.

    >>> reason_of("tool_use", calls=True), reason_of("tool_use", calls=False), reason_of("max_tokens", calls=True)
    ('tool_calls', 'stop', 'length')
    """
    reason = REASONS.get(stop_reason or "", "stop")
    return "stop" if reason == "tool_calls" and not calls else reason


def refusal_of(details: dict[str, Any] | None) -> str | None:
    """Give why the model refused, where it says."""
    explanation = details.get("explanation") if details is not None else None
    return explanation if isinstance(explanation, str) else None


def usage_of(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give the usage as OpenAI counts: what was read from a cache and written to one is part of the prompt.

    >>> usage_of({"input_tokens": 10, "cache_read_input_tokens": 80, "output_tokens": 5})["prompt_tokens"]
    90
    """
    if usage is None or not isinstance(usage.get("output_tokens"), int):
        return None
    read, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    return usage_said(
        prompt=count(usage, "input_tokens") + read + written,
        completion=usage["output_tokens"],
        cached=read,
        written=written,
        written_1h=count(usage.get("cache_creation"), "ephemeral_1h_input_tokens"),
        reasoning=count(usage.get("output_tokens_details"), "thinking_tokens"),
    )


def count(counts: Any, name: str) -> int:
    """Give a count, which may be missing or null."""
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0
