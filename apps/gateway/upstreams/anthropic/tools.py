"""Tools: what may be called, and whether it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.gateway.upstreams.anthropic.schemas import strict
from apps.gateway.upstreams.openai.request import allowed_tools, function_name, refuse

if TYPE_CHECKING:
    from apps.gateway.upstreams.anthropic.traits import Traits
    from apps.gateway.upstreams.openai.request import Chat, Part

ANYTHING = {"type": "object", "properties": {}}
WORDS = {"auto": "auto", "required": "any", "none": "none"}
FORCED = ("any", "tool")


def tools_of(chat: Chat, traits: Traits) -> list[Part]:
    """Give the tools; those that are no functions are Anthropic's own and stay as they are."""
    allowed = allowed_tools(chat.tool_choice)
    return [
        tool if tool.get("type") != "function" else _function(tool, traits)
        for tool in chat.tools or ()
        if allowed is None or tool.get("type") != "function" or function_name(tool, param="tools") in allowed[1]
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
    name = function_name(tool, param="tools")
    function = tool["function"]
    schema = function.get("parameters") or ANYTHING
    if not isinstance(schema, dict):
        refuse("The `parameters` of a function are a JSON schema.", param="tools")
    held = bool(function.get("strict")) and traits.structured
    schema = {"type": "object", **schema}
    said: dict[str, Any] = {"name": name, "input_schema": strict(schema) if held else schema}
    if function.get("description"):
        said["description"] = function["description"]
    if held:
        said["strict"] = True
    if function.get("cache_control") is not None:
        said["cache_control"] = function["cache_control"]
    said.update((name, value) for name, value in tool.items() if name not in {"type", "function"})
    return said


def _choice(choice: str | Part | None) -> Part | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in WORDS:
            refuse(f"`tool_choice` is `auto`, `required`, `none` or a tool; not `{choice}`.", param="tool_choice")
        return {"type": WORDS[choice]}
    if choice.get("type") == "function":
        return {"type": "tool", "name": function_name(choice, param="tool_choice")}
    allowed = allowed_tools(choice)
    return choice if allowed is None else {"type": WORDS.get(allowed[0], "auto")}
