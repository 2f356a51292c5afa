"""Tools: what may be called, and whether it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.gateway.upstreams.openai.request import refuse

if TYPE_CHECKING:
    from apps.gateway.upstreams.anthropic.traits import Traits
    from apps.gateway.upstreams.openai.request import Chat, Part

ANYTHING = {"type": "object", "properties": {}}
WORDS = {"auto": "auto", "required": "any", "none": "none"}
FORCED = frozenset({"any", "tool"})


def tools_of(chat: Chat, traits: Traits) -> list[Part]:
    """Give the tools; those that are no functions are Anthropic's own and stay as they are."""
    allowed = _allowed(chat.tool_choice)
    return [
        tool if tool.get("type") != "function" else _function(tool, traits)
        for tool in chat.tools or ()
        if allowed is None or tool.get("type") != "function" or _name(tool) in allowed
    ]


def choice_of(chat: Chat) -> Part | None:
    """Give `tool_choice`, with what OpenAI says of parallel calls beside it."""
    choice = _choice(chat.tool_choice)
    if chat.parallel_tool_calls is False:
        choice = choice or {"type": "auto"}
        if choice.get("type") != "none":
            choice = {**choice, "disable_parallel_tool_use": True}
    return choice


def _function(tool: Part, traits: Traits) -> Part:
    function = tool.get("function")
    if not isinstance(function, dict):
        refuse("A tool of type `function` needs `function`.", param="tools")
    schema = function.get("parameters") or ANYTHING
    if not isinstance(schema, dict):
        refuse("The `parameters` of a function are a JSON schema.", param="tools")
    said: dict[str, Any] = {"name": _name(tool), "input_schema": {"type": "object", **schema}}
    if function.get("description"):
        said["description"] = function["description"]
    if function.get("strict") and traits.structured:
        said["strict"] = True
    if function.get("cache_control") is not None:
        said["cache_control"] = function["cache_control"]
    said.update((name, value) for name, value in tool.items() if name not in {"type", "function"})
    return said


def _name(tool: Part) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        refuse("A function needs a `name`.", param="tools")
    return name


def _choice(choice: str | Part | None) -> Part | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in WORDS:
            refuse(f"`tool_choice` is `auto`, `required`, `none` or a tool; not `{choice}`.", param="tool_choice")
        return {"type": WORDS[choice]}
    if choice.get("type") == "function":
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        return {"type": "tool", "name": name}
    if choice.get("type") == "allowed_tools":
        return {"type": WORDS.get(str(_permitted(choice).get("mode")), "auto")}
    return choice


def _permitted(choice: Part) -> Part:
    permitted = choice.get("allowed_tools")
    return permitted if isinstance(permitted, dict) else choice


def _allowed(choice: str | Part | None) -> set[str] | None:
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    tools = _permitted(choice).get("tools")
    return {_name(tool) for tool in tools if isinstance(tool, dict)} if isinstance(tools, list) else None
