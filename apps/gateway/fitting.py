"""What a client says in one maker's words, fitted to a target that does not know them.

A message of Anthropic's client, and a response that goes on from a stored one, become chat calls that still carry what only Claude
understands (marks for its cache, signed thoughts, how long to think) or only Gemini (the signatures of its calls). So does a chat whose
client sends back what a Claude or a Gemini answered, as it came. A target that knows these gets them. Others refuse every member that
they do not know (OpenAI, Groq, Mistral) or need them back (DeepSeek and Kimi their `reasoning_content`), and the same call may be asked
of both, one after the other; so they are taken out for each target by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.gateway.striving import REASONS, effort_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget

WIRES = frozenset({"messages", "responses"})
ANTHROPICS = frozenset(
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
GOOGLES = frozenset({"cachedContent", "extra_body", "generationConfig", "safetySettings"})
SAMPLING = frozenset({"top_k"})
MARKS = frozenset(
    {
        "allowed_callers",
        "cache_control",
        "defer_loading",
        "eager_input_streaming",
        "input_examples",
        "is_error",
        "thinking_blocks",
    }
)
SIGNATURES = frozenset({"extra_content"})
SHOWN = frozenset({"images", "reasoning_content"})
"""What an answer may show, and only some servers take back."""

TIERS = {"standard_only": "default"}
LIMITED = frozenset({"chat", "completions"})
"""Operations whose answers have a length."""
PRESENT_WORD, FORMER_WORD = "max_completion_tokens", "max_tokens"
OPENAIS = ("openai.com", "azure.com")
"""Whose models refuse `max_tokens`; most servers that speak as they do know nothing else."""
GOOGLE = ("googleapis.com",)
STRICT = (*OPENAIS, *GOOGLE, "groq.com", "mistral.ai")
"""Who refuses a member that it does not know. Others pass over it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target does not read: members of the request, and marks on messages, their parts and calls, and tools."""

    members: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()


EVERYTHING = Reading()


def fitted(call: Call, target: ResolvedTarget) -> Mapping[str, Any]:
    """Give the body as this target can read it: the call's own where nothing has to change, and it is left as it is."""
    body: Mapping[str, Any] = call.body
    if target.kind == "openai" and call.operation in LIMITED:
        word = limit_word(target.base_url, target.upstream_model) if call.operation == "chat" else FORMER_WORD
        body = _limited(body, word, call.route)
    if call.operation != "chat":
        return body
    if call.wire not in WIRES:
        reading = reading_of(target.kind, target.base_url)
        if reading is EVERYTHING or (reading.members.isdisjoint(body) and not _is_marked(body, reading.marks)):
            return body
        return _plain(body, target, reading)
    reading = reading_of(target.kind, target.base_url, translated=True)
    if reading is EVERYTHING:
        return body
    plain = _plain(body, target, reading)
    tier = plain.get("service_tier")
    if isinstance(tier, str) and tier in TIERS:
        plain["service_tier"] = TIERS[tier]
    return plain


@lru_cache(maxsize=1024)
def limit_word(base_url: str, upstream_model: str) -> str:
    """Give the word in which a server of OpenAI's wire is told how long a chat's answer may be.

    >>> limit_word("https://api.openai.com/v1", "gpt-4o"), limit_word("http://localhost:11434/v1", "llama3")
    ('max_completion_tokens', 'max_tokens')
    """
    return PRESENT_WORD if _is_at(base_url, *OPENAIS) or REASONS.match(upstream_model) else FORMER_WORD


def _limited(body: Mapping[str, Any], word: str, route: ResolvedRoute | None) -> Mapping[str, Any]:
    """The body with its limit in this word, else with the route's; one that says both is left as it is."""
    present, former = body.get(PRESENT_WORD), body.get(FORMER_WORD)
    if present is None and former is None:
        limit = route.max_output_tokens if route is not None else None
        return body if limit is None else {**body, word: limit}
    if word == FORMER_WORD and former is None:
        plain = {**body, FORMER_WORD: present}
        del plain[PRESENT_WORD]
        return plain
    return body


@lru_cache(maxsize=1024)
def reading_of(kind: str, base_url: str, *, translated: bool = False) -> Reading:
    """Give what a target does not read; of a call that was `translated` into chat nobody but its maker need know the rest.

    >>> sorted(reading_of("openai", "https://api.groq.com/openai/v1").marks - MARKS), reading_of("openai", "https://api.deepseek.com/v1")
    (['extra_content', 'images', 'reasoning_content'], Reading(members=frozenset(), marks=frozenset()))
    """
    match kind:
        case "anthropic":
            return EVERYTHING if translated else Reading(GOOGLES)
        case "gemini":  # it leaves out by itself what stands on messages
            return Reading(ANTHROPICS - {"thinking"}, MARKS if translated else frozenset())
        case "openai" if _is_at(base_url, *GOOGLE):
            return Reading(ANTHROPICS | SAMPLING, MARKS | SHOWN)
        case "openai" if _is_at(base_url, *STRICT):
            return Reading(ANTHROPICS | GOOGLES | SAMPLING, MARKS | SIGNATURES | SHOWN)
    return Reading(ANTHROPICS, MARKS | SIGNATURES) if translated else EVERYTHING


def _plain(body: Mapping[str, Any], target: ResolvedTarget, reading: Reading) -> dict[str, Any]:
    plain = {name: value for name, value in body.items() if name not in reading.members}
    for name in ("messages", "tools"):
        if reading.marks and isinstance(plain.get(name), list):
            plain[name] = [_unmarked(item, reading.marks) for item in plain[name]]
    asked = target.kind == "gemini" or (target.kind == "openai" and _is_at(target.base_url, *OPENAIS))
    if asked and body.get("reasoning_effort") is None and (effort := effort_for(body, target)) is not None:
        plain["reasoning_effort"] = effort
    return plain


def _is_marked(body: Mapping[str, Any], marks: frozenset[str]) -> bool:
    """Whether there is anything to take out. Most often there is not: then the client's own bytes go on as they are."""
    clean = marks.isdisjoint
    for items in (body.get("messages"), body.get("tools")):
        for item in items if type(items) is list and marks else ():
            if type(item) is not dict:
                continue
            if not clean(item):
                return True
            for inner in item.values():
                if type(inner) is list and not all(clean(part) for part in inner if type(part) is dict):
                    return True
    return False


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

    >>> [_is_at(f"https://{host}/v1", "openai.com") for host in ("api.openai.com", "openai.com", "notopenai.com", "openai.com.example")]
    [True, True, False, False]
    """
    try:
        host = "." + (urlsplit(base_url).hostname or "")
    except ValueError:
        return False
    return any(host.endswith("." + domain) for domain in domains)
