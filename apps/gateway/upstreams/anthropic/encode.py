"""The request as it goes out: OpenAI's chat request as Anthropic's `POST /v1/messages`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from apps.gateway.upstreams.anthropic.conversation import system_of, turns_of
from apps.gateway.upstreams.anthropic.schemas import strict
from apps.gateway.upstreams.anthropic.thinking import thinking_of
from apps.gateway.upstreams.anthropic.tools import ANYTHING, FORCED, choice_of, tools_of
from apps.gateway.upstreams.anthropic.traits import traits_of
from apps.gateway.upstreams.openai.request import cannot, read_chat, refuse, rest_of

if TYPE_CHECKING:
    from apps.gateway.upstreams import Attempt
    from apps.gateway.upstreams.anthropic.thinking import Thinking
    from apps.gateway.upstreams.anthropic.traits import Traits
    from apps.gateway.upstreams.openai.request import Chat, Part

BETA = re.compile(r"[A-Za-z0-9._-]+")
ANSWER_TOOL = "answer_in_json"
ONLY_JSON = "Answer with one JSON object and nothing else: no words around it, no code fence."
LOWEST_TOP_P_THINKING = 0.95
TIERS = {"auto": "auto", "standard_only": "standard_only", "default": "standard_only"}


class Request(msgspec.Struct, frozen=True):
    """A body, and what must be remembered of it to understand the answer."""

    body: bytes
    answers_by_tool: bool
    """The answer comes as a call of `ANSWER_TOOL`, because the model has no other way of keeping to a schema."""
    betas: str = ""
    """What of Anthropic's tried-out features the client asks for."""


def request_of(attempt: Attempt) -> Request:
    """Give the request; raises UpstreamRefused for what is wrong with it, UpstreamUnfit for what Claude cannot do."""
    chat = read_chat(attempt.body)
    if chat.n not in {None, 1}:
        cannot("Claude gives one choice: `n` must be 1.", param="n")
    if any(name != "text" for name in chat.modalities or ()):
        cannot("Claude answers in text alone.", param="modalities")
    traits = traits_of(attempt.target.upstream_model)
    said: dict[str, Any] = {"model": attempt.target.upstream_model, "max_tokens": 0}
    system, turns = system_of(chat.messages), turns_of(chat.messages)
    by_tool = _format(said, chat, traits, system)
    if not turns:  # OpenAI answers a system message alone, Anthropic nothing
        system, turns = [], [{"role": "user", "content": system}]
    said["messages"] = turns
    if system:
        said["system"] = system
    _tools(said, chat, traits, by_tool=by_tool)
    most = traits.most_output_tokens
    limit = _within(chat.limit or attempt.max_output_tokens, most)
    thinking = thinking_of(chat, traits, limit=limit, forced=said.get("tool_choice", {}).get("type") in FORCED)
    _think(said, thinking)
    said["max_tokens"] = limit or _within(traits.output_tokens + thinking.budget, most)
    _sample(said, chat, traits, thinking)
    if chat.stops:
        said["stop_sequences"] = chat.stops
    if (user := _user(chat)) is not None:
        said["metadata"] = {"user_id": user}
    if chat.service_tier in TIERS:
        said["service_tier"] = TIERS[chat.service_tier]
    if attempt.stream:
        said["stream"] = True
    rest = rest_of(attempt.body)
    betas = betas_of(rest.pop("betas", None))
    if isinstance(rest.get("output_config"), dict):
        rest["output_config"] = {**said.get("output_config", {}), **rest["output_config"]}
    return Request(orjson.dumps({**said, **rest}), by_tool, betas)


def _within(limit: int | None, most: int | None) -> int | None:
    """Give a limit as far as the model goes: what a client allows another model is no reason to refuse it here."""
    return min(limit, most) if limit and most else limit


def betas_of(names: Any) -> str:
    """Give the header's value for the `betas` of a body, as Anthropic's own clients name them."""
    if names is None:
        return ""
    if not isinstance(names, list) or not all(isinstance(name, str) and BETA.fullmatch(name) for name in names):
        refuse("`betas` is a list of names.", param="betas")
    return ",".join(names)


def _format(said: dict[str, Any], chat: Chat, traits: Traits, system: list[Part]) -> bool:
    """Ask for JSON where the client does; whether the answer will come by a tool."""
    wanted = chat.response_format or {}
    if wanted.get("type") == "json_object":
        system.append({"type": "text", "text": ONLY_JSON})
    if wanted.get("type") != "json_schema":
        return False
    if not traits.structured:
        return True
    said["output_config"] = {"format": {"type": "json_schema", "schema": strict(_schema(wanted))}}
    return False


def _schema(wanted: Part) -> Part:
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        refuse("`response_format` of type `json_schema` needs `json_schema.schema`.", param="response_format")
    return schema


def _tools(said: dict[str, Any], chat: Chat, traits: Traits, *, by_tool: bool) -> None:
    tools = tools_of(chat, traits)
    choice = choice_of(chat) if tools else None
    if by_tool:
        answer = {
            "name": ANSWER_TOOL,
            "description": "Give the answer. Call this in place of writing it.",
            "input_schema": {**ANYTHING, **_schema(chat.response_format or {})},
        }
        # A model that may also call other tools must call one or the other.
        choice = {"type": "any"} if tools else {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}
        tools = [*tools, answer]
    if tools:
        said["tools"] = tools
    if choice is not None:
        said["tool_choice"] = choice


def _think(said: dict[str, Any], thinking: Thinking) -> None:
    if thinking.config is not None:
        said["thinking"] = thinking.config
    if thinking.effort is not None:
        said["output_config"] = {**said.get("output_config", {}), "effort": thinking.effort}


def _sample(said: dict[str, Any], chat: Chat, traits: Traits, thinking: Thinking) -> None:
    """Say how tokens are drawn, as far as this model, thinking or not, may be told."""
    if not traits.samples:
        return
    if thinking.on:
        if chat.top_p is not None:
            said["top_p"] = min(max(chat.top_p, LOWEST_TOP_P_THINKING), 1.0)
        return
    if chat.temperature is not None:
        said["temperature"] = min(max(chat.temperature, 0.0), 1.0)
    if chat.top_p is not None and not (traits.samples_once and chat.temperature is not None):
        said["top_p"] = chat.top_p
    if chat.top_k is not None:
        said["top_k"] = chat.top_k


def _user(chat: Chat) -> str | None:
    named = chat.metadata.get("user_id") if chat.metadata is not None else None
    return named if isinstance(named, str) else chat.safety_identifier or chat.user
