"""A chat answer becomes a message in Anthropic's wire."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from apps.gateway.upstreams.openai.request import arguments_of

STOPPED: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
UNTOLD: Final = ("pause_turn", "model_context_window_exceeded")
"""Of Claude's own reasons: those that chat calls by a name that means something else."""
THOUGHT: Final = ("type", "thinking", "signature", "data")
DETAILS_OF_INPUT, DETAILS_OF_OUTPUT = "prompt_tokens_details", "completion_tokens_details"


def encode(answer: Mapping[str, Any], *, request_id: str, sequences: Collection[str]) -> dict[str, Any]:
    """Give the message that a whole chat answer comes to; `sequences` are those that the client would have it stop at."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    said = choice.get("message")
    content = _content(said if isinstance(said, dict) else {}, request_id)
    message = {
        **head(answer, request_id=request_id),
        "content": content,
        **stop(choice, sequences=sequences, refused=bool(isinstance(said, dict) and said.get("refusal"))),
        "usage": usage(answer.get("usage")),
    }
    return {**message, "menhir": answer["menhir"]} if "menhir" in answer else message


def head(answer: Mapping[str, Any], *, request_id: str) -> dict[str, Any]:
    """Give what a message is called.

    >>> head({"id": "chatcmpl-1", "model": "m"}, request_id="req_1")["id"]
    'msg_chatcmpl-1'
    """
    name = str(answer.get("id") or request_id)
    return {
        "id": name if name.startswith("msg_") else f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": str(answer.get("model") or ""),
    }


def stop(choice: Mapping[str, Any], *, sequences: Collection[str], refused: bool = False) -> dict[str, Any]:
    """Say why the answer ended.

    Chat's `stop` covers a stop sequence, too; some upstreams say in `stop_reason` which it was, others do not tell.

    >>> stop({"finish_reason": "stop", "stop_reason": "END"}, sequences=["END"])
    {'stop_reason': 'stop_sequence', 'stop_sequence': 'END'}
    """
    for name in ("stop_sequence", "stop_reason"):
        hit = choice.get(name)
        if isinstance(hit, str) and hit in sequences:
            return {"stop_reason": "stop_sequence", "stop_sequence": hit}
    if choice.get("stop_reason") in UNTOLD:
        return {"stop_reason": choice["stop_reason"], "stop_sequence": None}
    reason = choice.get("finish_reason")
    return {"stop_reason": "refusal" if refused else STOPPED.get(str(reason), "end_turn"), "stop_sequence": None}


def usage(said: object) -> dict[str, Any]:
    """Count as Anthropic does: what was read from a cache or written into one is no part of `input_tokens`.

    >>> usage({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}})["input_tokens"]
    4
    """
    told = said if isinstance(said, dict) else {}
    details, thoughts = _details(told, DETAILS_OF_INPUT), _details(told, DETAILS_OF_OUTPUT)
    read = _count(details.get("cached_tokens"))
    written = next((count for name in ("cache_creation_tokens", "cache_write_tokens") if (count := _count(details.get(name)))), 0)
    hourly = min(written, _count(details.get("cache_write_1h_tokens")))
    counted: dict[str, Any] = {
        "input_tokens": max(0, _count(told.get("prompt_tokens")) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hourly, "ephemeral_1h_input_tokens": hourly},
        "output_tokens": _count(told.get("completion_tokens")),
    }
    if thought := _count(thoughts.get("reasoning_tokens")):
        counted["output_tokens_details"] = {"thinking_tokens": thought}
    return counted


def thoughts_of(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the model's thoughts: with their signatures where it signed them, else as text that nobody vouches for."""
    blocks = said.get("thinking_blocks")
    if isinstance(blocks, list) and blocks:
        # A chunk's blocks are numbered beside; a block that came back with more than it had would be refused.
        return [{name: block[name] for name in THOUGHT if name in block} for block in blocks if isinstance(block, dict)]
    text = said.get("reasoning_content") or said.get("reasoning")
    return [{"type": "thinking", "thinking": text, "signature": ""}] if isinstance(text, str) and text else []


def call_id(given: object, *, request_id: str, number: int) -> str:
    """Give the id of an answer's n-th call: the upstream's, or one made up where it has none, for the result to name.

    >>> call_id("call_1", request_id="req_1", number=0), call_id(None, request_id="req_1", number=1)
    ('call_1', 'toolu_abf8d4596fcc6d3208bacfe8')
    """
    made = hashlib.blake2b(f"{request_id} {number}".encode(), digest_size=12).hexdigest()
    return given if isinstance(given, str) and given else f"toolu_{made}"


def _content(said: Mapping[str, Any], request_id: str) -> list[dict[str, Any]]:
    content = thoughts_of(said)
    content += [{"type": "text", "text": text} for text in _texts(said)]
    calls = said.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            given = arguments_of(str(function.get("arguments") or ""))
            named = {"id": call_id(call.get("id"), request_id=request_id, number=number), "name": str(function.get("name") or "")}
            content.append({"type": "tool_use", **named, "input": given})
    return content


def _texts(said: Mapping[str, Any]) -> Sequence[str]:
    content = said.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return [text for text in (content, said.get("refusal")) if isinstance(text, str) and text]


def _details(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = told.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
