"""The conversation: OpenAI's messages as Gemini's instruction and contents.

Gemini knows two speakers, `user` and `model`. Results of tools are the user's, found by the name of the function, which OpenAI leaves
to the call they answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.upstreams.gemini.parts import parts_of, signature_of
from apps.gateway.upstreams.openai.request import arguments_of, refuse, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apps.gateway.upstreams.openai.request import Message, Part, ToolCall

INSTRUCTING = frozenset({"system", "developer"})
SPEAKERS = {"user": "user", "tool": "user", "assistant": "model"}
UNSIGNED = "skip_thought_signature_validator"
"""What Google asks for in place of a signature that there is none of, because another model made the call or the client lost it."""


def instruction_of(messages: Iterable[Message]) -> list[Part]:
    """Give the parts of the instruction."""
    return [part for message in messages if message.role in INSTRUCTING for part in parts_of(message.content)]


def contents_of(messages: Iterable[Message], *, signs: bool) -> list[dict[str, Any]]:
    """Give the contents; raises UpstreamRefused for a role that nobody has.

    `signs` says that the model wants its signature back on its calls.
    """
    names: dict[str, str] = {}
    contents: list[dict[str, Any]] = []
    for message in messages:
        if message.role in INSTRUCTING:
            continue
        if message.role not in SPEAKERS:
            refuse(f"No message has the role `{message.role}`.", param="messages")
        names.update((call.id, call.function.name) for call in message.tool_calls or ())
        speaker, parts = SPEAKERS[message.role], _said(message, names, signs=signs)
        if contents and contents[-1]["role"] == speaker:
            contents[-1]["parts"].extend(parts)
        elif parts:
            contents.append({"role": speaker, "parts": parts})
    return contents


def _said(message: Message, names: dict[str, str], *, signs: bool) -> list[Part]:
    if message.role == "tool":
        return [_result(message, names)]
    parts = parts_of(message.content or message.refusal)
    if parts and (signature := signature_of(message.extra_content)) is not None:
        parts[-1] = {**parts[-1], "thoughtSignature": signature}
    calls = [_call(call) for call in message.tool_calls or ()]
    # Of parallel calls the first alone is signed.
    if signs and calls and "thoughtSignature" not in calls[0]:
        calls[0]["thoughtSignature"] = UNSIGNED
    return [*parts, *calls]


def _call(call: ToolCall) -> Part:
    part: Part = {"functionCall": {"name": call.function.name, "args": arguments_of(call.function.arguments)}}
    if call.id:
        part["functionCall"]["id"] = call.id
    if (signature := signature_of(call.extra_content)) is not None:
        part["thoughtSignature"] = signature
    return part


def _result(message: Message, names: dict[str, str]) -> Part:
    asked = message.tool_call_id
    if not asked or asked not in names:
        refuse("A message of the role `tool` answers a call that was made before, by `tool_call_id`.", param="messages")
    response: Part = {"id": asked, "name": names[asked], "response": _response(message)}
    shown = [part for part in parts_of(message.content) if "text" not in part]
    if shown:
        response["parts"] = shown
    return {"functionResponse": response}


def _response(message: Message) -> dict[str, Any]:
    """Give what a tool said as the object that Gemini wants it to be."""
    text = text_of(message.content)
    if message.is_error:
        return {"error": text}
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"output": text}
    return said if isinstance(said, dict) else {"output": text}
