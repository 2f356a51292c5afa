"""What a client says in another wire's words, fitted to a target that does not know them.

A message of Anthropic's client, and a response that goes on from a stored one, become chat calls that still carry what only Claude
understands (marks for its cache, signed thoughts, how long to think) or only Gemini (the signatures of its calls). A target that knows
these gets them. Any other would refuse them (OpenAI refuses every member that it does not know), and the same call may be asked of both,
one after the other; so they are taken out for each target by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.call import Call, ResolvedTarget

WIRES = frozenset({"messages", "responses"})
UNDERSTANDING = "anthropic"
SIGNING = "gemini"
GOOGLES = "googleapis.com"
MEMBERS = frozenset(
    {
        "betas",
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "output_config",
        "speed",
        "thinking",
    }
)
MARKS = frozenset({"cache_control", "is_error", "thinking_blocks"})
SIGNATURES = frozenset({"extra_content"})
TIERS = {"standard_only": "default"}
PRESENT_WORD, FORMER_WORD = "max_completion_tokens", "max_tokens"
KNOW_THE_PRESENT_WORD = ("openai.com", "azure.com")
"""Whose models refuse `max_tokens`; most servers that speak as they do know nothing else."""


def fitted(call: Call, target: ResolvedTarget) -> Mapping[str, Any]:
    """Give the body as this target can read it; the call's own is left as it is."""
    if call.wire not in WIRES or target.kind == UNDERSTANDING:
        return call.body
    marks = MARKS if target.kind == SIGNING or _is_at(target.base_url, GOOGLES) else MARKS | SIGNATURES
    body = {name: value for name, value in call.body.items() if name not in MEMBERS}
    body["messages"] = [_unmarked(message, marks) for message in body["messages"]]
    if isinstance(body.get("tools"), list):
        body["tools"] = [_unmarked(tool, marks) for tool in body["tools"]]
    if body.get("service_tier") in TIERS:
        body["service_tier"] = TIERS[body["service_tier"]]
    if target.kind == "openai" and PRESENT_WORD in body and not _is_at(target.base_url, *KNOW_THE_PRESENT_WORD):
        body[FORMER_WORD] = body.pop(PRESENT_WORD)
    return body


def _unmarked(value: Any, marks: frozenset[str] = MARKS) -> Any:
    """A message or a tool without the marks, on itself, its parts and its calls.

    >>> _unmarked({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]})
    {'role': 'user', 'content': [{'type': 'text', 'text': 'Hi'}]}
    """
    if not isinstance(value, dict):
        return value
    plain = {name: item for name, item in value.items() if name not in marks}
    for name in ("content", "tool_calls"):
        if isinstance(plain.get(name), list):
            plain[name] = [_unmarked(item, marks) for item in plain[name]]
    return plain


def _is_at(base_url: str, *domains: str) -> bool:
    """Whether the server is one of theirs.

    >>> _is_at("https://api.openai.com/v1", "openai.com"), _is_at("http://localhost:11434/v1", "openai.com")
    (True, False)
    """
    host = urlsplit(base_url).hostname or ""
    return host.endswith(domains)
