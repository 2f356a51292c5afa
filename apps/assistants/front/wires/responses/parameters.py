"""The parameters of a response, said again in the words of the chat wire, and what the response repeats of them.

What the chat wire knows under the same name is passed on, and so is what neither knows. What cannot be done here is refused by its name,
rather than left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from apps.assistants.errors import MalformedRequest
from apps.assistants.front.wires.responses.items import short

Fields = Mapping[str, Any]

OURS: Final = frozenset(
    {
        "input",
        "instructions",
        "previous_response_id",
        "store",
        "stream",
        "stream_options",
        "background",
        "conversation",
        "include",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
        "prompt",
    }
)
"""What the chat wire does not know, or knows in another form. `metadata` and `store` would make OpenAI store what is stored here."""
REPEATED: Final[Mapping[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "user": None,
}
"""What a response says of how it was asked, with what holds where nothing was said. A temperature is the model's own then."""
INCLUDABLE: Final = frozenset({"message.output_text.logprobs", "message.input_image.image_url", "reasoning.encrypted_content"})
LOGPROBS: Final = "message.output_text.logprobs"
MOST_METADATA: Final = 16
CHOICES: Final = frozenset({"none", "auto", "required"})


def chat_of(fields: Fields) -> dict[str, Any]:
    """Give the chat request but for its messages; raise `MalformedRequest` naming what cannot be done."""
    _refuse_what_is_not_built(fields)
    chat = {name: value for name, value in fields.items() if name not in OURS}
    if fields.get("prompt") is not None:
        chat["prompt"] = _prompt(fields["prompt"])
    if (tools := fields.get("tools")) is not None:
        chat["tools"] = _tools(tools)
        if not tools:
            del chat["tools"]
    if (choice := fields.get("tool_choice")) is not None and "tools" in chat:
        chat["tool_choice"] = _tool_choice(choice)
    if (most := fields.get("max_output_tokens")) is not None:
        if type(most) is not int or most < 1:
            raise MalformedRequest("`max_output_tokens` is a number from 1.", param="max_output_tokens")
        chat["max_completion_tokens"] = most
    _text(fields, chat)
    if (effort := _object(fields, "reasoning").get("effort")) is not None:
        chat["reasoning_effort"] = effort
    _logprobs(fields, chat)
    return chat


def repeated(fields: Fields) -> dict[str, Any]:
    """Give what the response says of how it was asked."""
    said = {name: default if fields.get(name) is None else fields[name] for name, default in REPEATED.items()}
    said["text"] = {**REPEATED["text"], **said["text"]}
    said["reasoning"] = {**REPEATED["reasoning"], **said["reasoning"]}
    # Nothing is ever left out of a conversation here: what is too long is refused by the model.
    return {**said, "truncation": "disabled"}


def wants_summary(fields: Fields) -> bool:
    """Whether the model's thoughts are asked for as a summary."""
    asked = _object(fields, "reasoning")
    return (asked.get("summary") or asked.get("generate_summary")) is not None


def _refuse_what_is_not_built(fields: Fields) -> None:
    for name in ("background", "store", "stream", "parallel_tool_calls"):
        if fields.get(name) is not None and not isinstance(fields[name], bool):
            raise MalformedRequest(f"`{name}` is true or false.", param=name)
    if fields.get("background"):
        raise MalformedRequest("Responses are not made in the background here: leave `background` out, or stream.", param="background")
    if fields.get("conversation") is not None:
        raise MalformedRequest("There are no conversations here: go on from a response with `previous_response_id`.", param="conversation")
    if str(fields.get("truncation") or "auto") not in {"auto", "disabled"}:
        raise MalformedRequest("`truncation` is auto or disabled.", param="truncation")
    if not isinstance(fields.get("instructions"), str | None):
        raise MalformedRequest("`instructions` is a text.", param="instructions")
    metadata = fields.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict) and len(metadata) <= MOST_METADATA and all(isinstance(value, str) for value in metadata.values())
    ):
        raise MalformedRequest(f"`metadata` is an object of at most {MOST_METADATA} texts.", param="metadata")


def _object(fields: Fields, name: str) -> Fields:
    given = fields.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise MalformedRequest(f"`{name}` is an object.", param=name)
    return given


def _prompt(given: object) -> object:
    """A managed prompt; its values may be written as texts or as parts of type `input_text`."""
    variables = given.get("variables") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(variables, dict):
        return given
    values: dict[str, object] = {}
    for name, value in variables.items():
        if not isinstance(value, dict):
            values[name] = value
        elif value.get("type") == "input_text" and isinstance(value.get("text"), str):
            values[name] = value["text"]
        else:
            raise MalformedRequest("A value of a prompt's variable is a text.", param=f"prompt.variables.{name}")
    return {**given, "variables": values}


def _tools(given: object) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise MalformedRequest("`tools` is a list.", param="tools")
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(given)]


def _tool(given: object, at: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise MalformedRequest("A tool is an object.", param=at)
    if given.get("type") != "function":
        raise MalformedRequest(
            f"Tools of the type `{short(given.get('type'))}` are not run here: give functions of your own.", param=f"{at}.type"
        )
    if not isinstance(given.get("name"), str):
        raise MalformedRequest("A function has a `name`.", param=f"{at}.name")
    return {"type": "function", "function": {name: value for name, value in given.items() if name != "type" and value is not None}}


def _tool_choice(given: object) -> object:
    if isinstance(given, str) and given in CHOICES:
        return given
    kind = given.get("type") if isinstance(given, dict) else None
    if isinstance(given, dict) and kind == "function" and isinstance(given.get("name"), str):
        return {"type": "function", "function": {"name": given["name"]}}
    if isinstance(given, dict) and kind == "allowed_tools" and isinstance(given.get("tools"), list):
        allowed = [
            {"type": "function", "function": {"name": tool.get("name")}}
            for tool in given["tools"]
            if isinstance(tool, dict) and tool.get("type") == "function"
        ]
        if len(allowed) == len(given["tools"]):
            return {"type": "allowed_tools", "allowed_tools": {"mode": given.get("mode", "auto"), "tools": allowed}}
    raise MalformedRequest("`tool_choice` is none, auto, required, or names functions.", param="tool_choice")


def _text(fields: Fields, chat: dict[str, Any]) -> None:
    text = _object(fields, "text")
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    asked = text.get("format")
    kind = asked.get("type") if isinstance(asked, dict) else None
    if asked is None or kind == "text":
        return
    write = FORMATS.get(str(kind))
    if write is None or not isinstance(asked, dict):
        raise MalformedRequest("`text.format` is of the type text, json_object or json_schema.", param="text.format")
    chat["response_format"] = write(asked)


def _json_schema(asked: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(asked.get("name"), str) or not isinstance(asked.get("schema"), dict):
        raise MalformedRequest("A format of the type json_schema has a `name` and a `schema`.", param="text.format")
    schema = {name: value for name, value in asked.items() if name != "type" and value is not None}
    return {"type": "json_schema", "json_schema": schema}


FORMATS: Final[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "json_object": lambda _asked: {"type": "json_object"},
    "json_schema": _json_schema,
}


def _logprobs(fields: Fields, chat: dict[str, Any]) -> None:
    include = fields.get("include")
    if include is not None and not isinstance(include, list):
        raise MalformedRequest("`include` is a list.", param="include")
    for index, name in enumerate(include or ()):
        if not isinstance(name, str) or name not in INCLUDABLE:
            raise MalformedRequest(f"`{short(name)}` cannot be included here.", param=f"include[{index}]")
    most = fields.get("top_logprobs")
    if most is not None and type(most) is not int:
        raise MalformedRequest("`top_logprobs` is a number.", param="top_logprobs")
    if most or LOGPROBS in (include or ()):
        chat["logprobs"] = True
        if most:
            chat["top_logprobs"] = most
