"""A message in Anthropic's wire becomes a chat call.

Members that chat knows under another name are renamed, what it has no word for is passed on. One conversation step stays one step: the
results of tools stand right behind the call that they answer, whatever else the user says comes after them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from apps.assistants.errors import MalformedRequest
from apps.assistants.front.wires.messages.parts import parts_of, text_of

USER_LIMIT_CHARACTERS: Final = 64
"""OpenAI takes no longer `user`."""
RENAMED: Final = {"messages", "system", "tools", "tool_choice", "stop_sequences", "max_tokens", "metadata", "output_config", "stream"}
CLIENTS_OWN: Final = re.compile(r"(bash|text_editor|computer|memory)_\d{8}")
"""Tools that Anthropic describes and the client runs: a call of one is a `tool_use` like any other."""
OF_CLAUDES_TOOLS: Final = ("defer_loading", "input_examples", "eager_input_streaming", "allowed_callers")
"""What a tool may say of itself beside what it is called and takes; Claude alone understands it."""
SHOWN_CHARACTERS: Final = 80
CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def decode(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the chat call; raise MalformedRequest naming the field in Anthropic's words.

    >>> decode({"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]})["messages"]
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    """
    if fields.get("mcp_servers"):
        raise MalformedRequest(
            "Servers of tools are asked by the provider, which cannot be told here: leave them out.", param="mcp_servers"
        )
    body = {name: value for name, value in fields.items() if name not in RENAMED}
    body["messages"] = [*_system(fields.get("system")), *_conversation(fields.get("messages"))]
    if fields.get("max_tokens") is not None:
        limit = fields["max_tokens"]
        if type(limit) is not int or limit < 1:
            raise MalformedRequest("`max_tokens` is a number of tokens, at least 1.", param="max_tokens")
        body["max_completion_tokens"] = limit
    if fields.get("stop_sequences"):
        body["stop"] = _texts(fields["stop_sequences"], "stop_sequences")
    if fields.get("tools"):
        body["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(_list(fields["tools"], "tools"))]
    if fields.get("tool_choice") is not None:
        body |= _choice(fields["tool_choice"], has_tools="tools" in body)
    body |= _person(fields.get("metadata"))
    body |= _output(fields.get("output_config"))
    if fields.get("stream") is not None:
        body["stream"] = fields["stream"]
        if fields["stream"] is True:
            # Usage is a part of Anthropic's stream, asked for or not.
            body["stream_options"] = {"include_usage": True}
    return body


def _system(given: object) -> list[dict[str, Any]]:
    if given is None or given in ("", []):
        return []
    if isinstance(given, str):
        return [{"role": "system", "content": given}]
    return [{"role": "system", "content": parts_of(_list(given, "system"), "system")}]


def _conversation(given: object) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(_list(given, "messages")):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise MalformedRequest("A message is an object with `role` and `content`.", param=at)
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise MalformedRequest("The `role` of a message is `user` or `assistant`.", param=f"{at}.role")
        if isinstance(content, str):
            messages.append({"role": role, "content": content})
        elif role == "assistant":
            messages.append(_assistant(_list(content, f"{at}.content"), f"{at}.content"))
        else:
            messages += _user(role, _list(content, f"{at}.content"), f"{at}.content")
    return messages


def _assistant(blocks: Sequence[Any], at: str) -> dict[str, Any]:
    """What the model said: its thoughts, its text and its calls each in the member where chat keeps them."""
    said: list[Any] = []
    thoughts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind in ("thinking", "redacted_thinking"):
            thoughts.append(block)
        elif kind == "tool_use":
            calls.append(_call(block, f"{at}[{index}]"))
        else:
            said.append(block)
    message: dict[str, Any] = {"role": "assistant", "content": _plainly(parts_of(said, at)) or (None if calls else "")}
    if thoughts:
        message["thinking_blocks"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Mapping[str, Any], at: str) -> dict[str, Any]:
    name, given = block.get("name"), block.get("input")
    if not isinstance(block.get("id"), str) or not isinstance(name, str) or not isinstance(given, dict):
        raise MalformedRequest("A `tool_use` has an `id`, a `name` and an `input`.", param=at)
    return _marked(block, {"id": block["id"], "type": "function", "function": {"name": name, "arguments": orjson.dumps(given).decode()}})


def _user(role: str, blocks: Sequence[Any], at: str) -> list[dict[str, Any]]:
    """What the user said. Pictures that a tool gave follow the results, as the user's: a chat's tool speaks text only."""
    results: list[dict[str, Any]] = []
    said: list[Any] = []
    for index, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("type") == "tool_result":
            result, shown = _result(block, f"{at}[{index}]")
            results.append(result)
            said += shown
        else:
            said += parts_of([block], at, first=index)
    return [*results, {"role": role, "content": _plainly(said)}] if said or not results else results


def _result(block: Mapping[str, Any], at: str) -> tuple[dict[str, Any], list[Any]]:
    if not isinstance(block.get("tool_use_id"), str):
        raise MalformedRequest("A `tool_result` has a `tool_use_id`.", param=at)
    content = block.get("content")
    shown: list[Any] = []
    if isinstance(content, list):
        parts = parts_of(content, f"{at}.content")
        shown = [part for part in parts if part.get("type") != "text"]
        text = text_of(parts)
    elif content is None or isinstance(content, str):
        text = content or ""
    else:
        raise MalformedRequest("The `content` of a `tool_result` is a text or a list of blocks.", param=f"{at}.content")
    result: dict[str, Any] = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": text}
    if block.get("is_error") is True:
        result |= {"is_error": True, "content": text or "The tool failed."}
    return _marked(block, result), shown


def _tool(tool: Any, at: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if isinstance(tool, dict) and kind not in (None, "custom") and not (isinstance(kind, str) and CLIENTS_OWN.fullmatch(kind)):
        raise MalformedRequest(
            f"Tools of the type `{str(kind)[:SHOWN_CHARACTERS]}` are run by the provider, whose words for them do not come through here: "
            "give tools of your own.",
            param=f"{at}.type",
        )
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise MalformedRequest("A tool has a `name` and an `input_schema`.", param=at)
    if "input_schema" not in tool:  # one that Claude knows by its type, and the client runs; whoever does not know it, refuses it
        return tool
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
    beside = {name: tool[name] for name in OF_CLAUDES_TOOLS if tool.get(name) is not None}
    return _marked(tool, {"type": "function", "function": function, **beside})


def _choice(given: object, *, has_tools: bool) -> dict[str, Any]:
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or kind not in (*CHOICES, "tool") or (kind == "tool" and not isinstance(given.get("name"), str)):
        raise MalformedRequest("`tool_choice` is an object whose `type` is auto, any, none, or tool with a `name`.", param="tool_choice")
    if not has_tools:
        return {}
    chosen = {"tool_choice": {"type": "function", "function": {"name": given["name"]}} if kind == "tool" else CHOICES[str(kind)]}
    return chosen | {"parallel_tool_calls": False} if given.get("disable_parallel_tool_use") is True else chosen


def _person(metadata: object) -> dict[str, Any]:
    person = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(person, str) or not person:
        return {}
    return {"user": person if len(person) <= USER_LIMIT_CHARACTERS else hashlib.sha256(person.encode("utf-8", "surrogatepass")).hexdigest()}


def _output(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        return {}
    form = given.get("format")
    rest = {name: value for name, value in given.items() if name != "format"}
    body: dict[str, Any] = {"output_config": rest} if rest else {}
    if isinstance(form, dict) and form.get("type") == "json_schema":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": form.get("schema"), "strict": True}}
    return body


def _marked(block: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "cache_control": block["cache_control"]} if block.get("cache_control") is not None else made


def _plainly(parts: list[Any]) -> Any:
    """One unmarked text as a text, which every upstream reads; nothing at all as nothing."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts or ""


def _texts(given: object, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise MalformedRequest(f"`{name}` is a list of texts.", param=name)
    return given


def _list(given: object, name: str) -> list[Any]:
    if not isinstance(given, list):
        raise MalformedRequest(f"`{name}` is required: a list.", param=name)
    return given
