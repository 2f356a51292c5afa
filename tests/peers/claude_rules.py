"""What Anthropic refuses, as far as a translation can get it wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

KNOWN = {
    "model",
    "messages",
    "max_tokens",
    "system",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
}
KNOWN |= {"top_k", "top_p", "service_tier", "output_config", "container", "cache_control", "inference_geo", "speed"}
BLOCKS = {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result"}
ID = re.compile(r"[a-zA-Z0-9_-]+")


def signature(thought: str) -> str:
    return hashlib.sha256(f"signed {thought}".encode()).hexdigest()[:24]


def wrong(body: dict[str, Any], headers: Mapping[str, str]) -> tuple[int, str]:
    """The status and message of a refusal; nought for a good request."""
    if headers.get("anthropic-version") not in {"2023-06-01", "2026-10-21"}:
        return 400, "anthropic-version: header is required"
    if headers.get("x-api-key") == "sk-wrong":
        return 401, "invalid x-api-key"
    return next(((400, message) for message in [*_parameters(body), *_messages(body), *_tools(body)]), (0, ""))


def _parameters(body: dict[str, Any]) -> Iterator[str]:
    for name in body.keys() - KNOWN:
        yield f"{name}: Extra inputs are not permitted"
    if type(body.get("max_tokens")) is not int or body["max_tokens"] < 1:
        yield "max_tokens: Field required"
    if not 0 <= body.get("temperature", 1) <= 1:
        yield "temperature: range: 0..1"
    if any(not stop.strip() for stop in body.get("stop_sequences", [])):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    if body.get("metadata", {}).keys() - {"user_id"}:
        yield "metadata: Extra inputs are not permitted"
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        if not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            yield "thinking.budget_tokens: must be at least 1024 and less than max_tokens"
        if body.get("temperature", 1) != 1 or "top_k" in body:
            yield "`temperature` may only be set to 1 when thinking is enabled"
        if (body.get("tool_choice") or {}).get("type") in {"any", "tool"}:
            yield "Thinking may not be enabled when tool_choice forces tool use."


def _messages(body: dict[str, Any]) -> Iterator[str]:
    messages = body.get("messages")
    if not messages or messages[0]["role"] != "user":
        yield 'messages: first message must use the "user" role'
        return
    open_calls: set[str] = set()
    thinks = body.get("thinking", {}).get("type") == "enabled"
    for at, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else [{"type": "text", "text": message["content"]}]
        if message["role"] not in {"user", "assistant"}:
            yield f"messages.{at}.role: Input should be 'user' or 'assistant'"
        results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
        if open_calls - set(results):
            yield f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after"
        if set(results) - open_calls:
            yield f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks"
        if any(block.get("type") != "tool_result" for block in blocks[: len(results)]):
            yield f"messages.{at}: `tool_result` blocks must come first"
        open_calls = {block["id"] for block in blocks if block.get("type") == "tool_use"}
        if open_calls and thinks and at == len(messages) - 2 and blocks[0]["type"] not in {"thinking", "redacted_thinking"}:
            yield f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{blocks[0]['type']}`."
        for block in blocks:
            yield from _block(block, f"messages.{at}.content")
    if messages[-1]["role"] == "assistant" and str(messages[-1]["content"][-1].get("text", "x"))[-1:].isspace():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _block(block: dict[str, Any], place: str) -> Iterator[str]:
    kind = block.get("type")
    if kind not in BLOCKS:
        yield f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
    if kind == "text" and not block["text"]:
        yield f"{place}: text content blocks must be non-empty"
    if kind == "tool_use" and not (ID.fullmatch(block["id"]) and isinstance(block["input"], dict)):
        yield f"{place}.tool_use: String should match pattern '^[a-zA-Z0-9_-]+$', input should be a valid dictionary"
    if kind == "thinking" and block.keys() != {"type", "thinking", "signature"}:
        yield f"{place}.thinking: Extra inputs are not permitted, or some are missing"
    elif kind == "thinking" and block["signature"] != signature(block["thinking"]):
        yield f"{place}: Invalid `signature` in `thinking` block"


def _tools(body: dict[str, Any]) -> Iterator[str]:
    names = [tool.get("name") for tool in body.get("tools", [])]
    if any(not isinstance(name, str) for name in names) or len(set(names)) < len(names):
        yield "tools: Tool names must be unique"
    for tool in body.get("tools", []):
        if "type" not in tool and tool.get("input_schema", {}).get("type") != "object":
            yield "tools.0.custom.input_schema.type: Field required"
    choice = body.get("tool_choice")
    if choice and not names:
        yield "tool_choice: tool_choice may only be specified while providing tools"
    if choice and choice["type"] == "tool" and choice["name"] not in names:
        yield f"tool_choice: Tool '{choice['name']}' not found in provided tools"
