"""The request as it goes out: OpenAI's chat request as Gemini's `generateContent`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from apps.gateway.upstreams.gemini.conversation import contents_of, instruction_of
from apps.gateway.upstreams.gemini.schemas import Room, known
from apps.gateway.upstreams.gemini.thinking import LEVELLED, thinking_of, version_of
from apps.gateway.upstreams.gemini.tools import choice_of, tools_of
from apps.gateway.upstreams.openai.request import read_chat, refuse, rest_of

if TYPE_CHECKING:
    from apps.gateway.upstreams import Attempt
    from apps.gateway.upstreams.openai.request import Chat

JSON = "application/json"


def path_of(model: str, verb: str, *, stream: bool = False) -> str:
    """Give the path of a model's verb.

    >>> path_of("gemini-2.5-flash", "streamGenerateContent", stream=True)
    '/models/gemini-2.5-flash:streamGenerateContent?alt=sse'
    """
    named = quote(model if "/" in model else f"models/{model}", safe="/")
    return f"/{named}:{verb}" + ("?alt=sse" if stream else "")


def body_of(attempt: Attempt) -> bytes:
    """Give the body of a chat; raises UpstreamRefused for what Gemini's wire cannot say."""
    chat = read_chat(attempt.body)
    model = attempt.target.upstream_model
    instruction = instruction_of(chat.messages)
    contents = contents_of(chat.messages, signs=version_of(model) >= LEVELLED)
    if not contents:  # OpenAI answers a system message alone, Gemini nothing
        instruction, contents = [], [{"role": "user", "parts": instruction}]
    said: dict[str, Any] = {"contents": contents}
    if instruction:
        said["systemInstruction"] = {"parts": instruction}
    room = Room()
    if tools := tools_of(chat, room):
        said["tools"] = tools
        if (choice := choice_of(chat)) is not None:
            said["toolConfig"] = {"functionCallingConfig": choice}
    config = _config(chat, attempt, room)
    rest = rest_of(attempt.body)
    own = _own(rest)
    if (limit := _shorter(own, config.get("maxOutputTokens"))) is not None:
        config["maxOutputTokens"] = limit
    config.update(own)
    if config:
        said["generationConfig"] = config
    return orjson.dumps({**said, **rest})


def _own(rest: dict[str, Any]) -> dict[str, Any]:
    """Take out of the rest what a client says of generation in Gemini's words, or in those that Google has for OpenAI's clients."""
    config: dict[str, Any] = {}
    for name in ("generation_config", "generationConfig"):  # Google reads both
        said = rest.pop(name, None)
        config |= said if isinstance(said, dict) else {}
    for name in ("candidate_count", "candidateCount"):  # `n` says it, by which the call is held to its limits
        config.pop(name, None)
    extra = rest.pop("extra_body", None)
    google = extra.get("google") if isinstance(extra, dict) else None
    if isinstance(google, dict):
        if google.get("thinking_config") is not None:
            config["thinkingConfig"] = google["thinking_config"]
        if google.get("cached_content") is not None:
            rest["cachedContent"] = google["cached_content"]
    return config


def _shorter(own: dict[str, Any], limit: int | None) -> Any:
    """Take the client's limit out of its own words, and give the shorter of the two: the call is held to `limit`.

    >>> _shorter({"maxOutputTokens": 9}, 5), _shorter({"maxOutputTokens": 3}, 5), _shorter({"max_output_tokens": "9"}, 5)
    (5, 3, 5)
    """
    said = [own.pop(name) for name in ("maxOutputTokens", "max_output_tokens") if name in own]
    if limit is None:
        return said[0] if said else None
    return min([limit, *(number for number in said if type(number) is int and number > 0)])


def _config(chat: Chat, attempt: Attempt, room: Room) -> dict[str, Any]:
    said = {
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        "candidateCount": chat.n,
        "maxOutputTokens": chat.limit or attempt.max_output_tokens,
        "stopSequences": chat.stops or None,
        "presencePenalty": chat.presence_penalty,
        "frequencyPenalty": chat.frequency_penalty,
        "seed": chat.seed,
        "responseLogprobs": chat.logprobs or None,
        "logprobs": chat.top_logprobs if chat.logprobs else None,
        "responseModalities": [name.upper() for name in chat.modalities] if chat.modalities else None,
        "thinkingConfig": thinking_of(chat, attempt.target.upstream_model),
        **_format(chat, room),
    }
    return {name: value for name, value in said.items() if value is not None}


def _format(chat: Chat, room: Room) -> dict[str, Any]:
    wanted = chat.response_format or {}
    match wanted.get("type"):
        case "json_object":
            return {"responseMimeType": JSON}
        case "json_schema":
            described = wanted.get("json_schema")
            schema = described.get("schema") if isinstance(described, dict) else None
            if not isinstance(schema, dict):
                refuse("`response_format` of type `json_schema` needs `json_schema.schema`.", param="response_format")
            return {"responseMimeType": JSON, "responseSchema": known(schema, room)}
    return {}
