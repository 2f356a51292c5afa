"""Tools: what may be called, and whether it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.gateway.upstreams.gemini.schemas import known
from apps.gateway.upstreams.openai.request import allowed_tools, function_name, refuse

if TYPE_CHECKING:
    from apps.gateway.upstreams.gemini.schemas import Room
    from apps.gateway.upstreams.openai.request import Chat, Part

MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def tools_of(chat: Chat, room: Room) -> list[Part]:
    """Give the tools: all functions as one, and Gemini's own, such as `{"googleSearch": {}}`, as they are."""
    functions = [_function(tool, room) for tool in chat.tools or () if tool.get("type") == "function"]
    own = [tool for tool in chat.tools or () if tool.get("type") != "function"]
    return [{"functionDeclarations": functions}, *own] if functions else own


def choice_of(chat: Chat) -> Part | None:
    """Give `functionCallingConfig`."""
    choice = chat.tool_choice
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in MODES:
            refuse(f"`tool_choice` is `auto`, `required`, `none` or a tool; not `{choice}`.", param="tool_choice")
        return {"mode": MODES[choice]}
    allowed = allowed_tools(choice)
    if allowed is not None:
        mode, names = allowed
        # `VALIDATED` is `AUTO` among some.
        return {"mode": "ANY" if mode == "required" else "VALIDATED", "allowedFunctionNames": names}
    return {"mode": "ANY", "allowedFunctionNames": [function_name(choice, param="tool_choice")]}


def _function(tool: Part, room: Room) -> Part:
    name = function_name(tool, param="tools")
    function = tool["function"]
    said: dict[str, Any] = {"name": name}
    if function.get("description"):
        said["description"] = function["description"]
    parameters = known(function.get("parameters"), room)
    if parameters.get("properties"):  # an object of nothing is refused: who takes nothing has no parameters
        said["parameters"] = {"type": "object", **parameters}
    return said
