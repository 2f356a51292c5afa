"""OpenAI's chat request, as those read it who say it in another wire.

What a server of OpenAI's own wire would check is checked here, so that a translation meets no shape it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import orjson

from apps.gateway.errors import UpstreamRefused, UpstreamUnfit

if TYPE_CHECKING:
    from collections.abc import Mapping

Part = dict[str, Any]


class Function(msgspec.Struct):
    """What is called: its arguments are JSON, as the model wrote it, and need not be valid."""

    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    """A call that an assistant's message makes."""

    function: Function
    id: str = ""
    extra_content: Any = None
    cache_control: Part | None = None


class Message(msgspec.Struct):
    """One message of the conversation, with the extensions that carry what only one provider knows."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    thinking_blocks: list[Part] | None = None
    """Anthropic's signed thinking, to be given back as it came."""
    extra_content: Any = None
    """Google's signatures: `{"google": {"thought_signature": …}}`."""
    cache_control: Part | None = None
    is_error: bool | None = None


class Chat(msgspec.Struct):
    """The members that are translated; `rest` holds those that are not."""

    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[Part] | None = None
    tool_choice: str | Part | None = None
    parallel_tool_calls: bool | None = None
    response_format: Part | None = None
    reasoning_effort: str | None = None
    thinking: Part | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Part | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None

    @property
    def limit(self) -> int | None:
        """How many tokens the client wants at most."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> list[str]:
        """The stop sequences."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


UNSPOKEN = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "audio",
        "logit_bias",
        "menhir",
        "moderation",
        "prediction",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "store",
        "verbosity",
    }
)
"""What OpenAI's wire alone can say, and an answer does without. What it does not do without is passed on, to be refused."""
KNOWN = frozenset(Chat.__struct_fields__) | UNSPOKEN


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read a request; raises UpstreamRefused with the place where it is not what it must be.

    >>> read_chat({"messages": [{"role": "user", "content": 5}]})
    Traceback (most recent call last):
    apps.gateway.errors.UpstreamRefused: Expected `str | array | null`, got `int` - at `$.messages[0].content`
    """
    try:
        return msgspec.convert(body, Chat)
    except msgspec.ValidationError as e:
        _, _, place = str(e).partition("`$.")
        refuse(str(e), param=place.rstrip("`").partition(".")[0].partition("[")[0] or "messages")


def rest_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the members that OpenAI's wire does not have: they are meant for the other side as they are.

    >>> rest_of({"model": "x", "messages": [], "container": "c_1"})
    {'container': 'c_1'}
    """
    return {name: value for name, value in body.items() if name not in KNOWN}


def text_of(content: str | list[Part] | None) -> str:
    """Give the text of a message whose other parts do not count, a paragraph for each part.

    >>> text_of([{"type": "text", "text": "one"}, {"type": "image_url"}])
    'one'
    """
    if content is None or isinstance(content, str):
        return content or ""
    return "\n\n".join(text for part in content if (text := part_text(part)))


def part_text(part: Part) -> str:
    """Give the text of a part, if it has one."""
    text = part.get("text") or part.get("refusal")
    return text if isinstance(text, str) else ""


def arguments_of(text: str) -> dict[str, Any]:
    """Give the arguments of a call as an object; what a model once wrote that is none stays readable for the next.

    >>> arguments_of(""), arguments_of('{"a": 1}'), arguments_of('{"a": ')
    ({}, {'a': 1}, {'arguments': '{"a": '})
    """
    if not text.strip():
        return {}
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"arguments": text}
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def string(part: Part, name: str) -> str:
    """Give a text that a part must have; raises UpstreamRefused where it does not."""
    value = part.get(name)
    if not isinstance(value, str):
        refuse(f"A part of type `{part.get('type')}` needs `{name}`.", param="messages")
    return value


def function_name(named: Part, *, param: str) -> str:
    """Give the name in `{"type": "function", "function": {"name": …}}`, be it a tool or a choice; raises UpstreamRefused without one."""
    function = named.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        refuse("A function needs a `name`.", param=param)
    return name


def allowed_tools(choice: str | Part | None) -> tuple[str, list[str]] | None:
    """Give mode and names of a choice among a few of the tools; None for any other choice.

    >>> allowed_tools({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "clock"}}]}})
    ('auto', ['clock'])
    """
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    allowed = choice.get("allowed_tools")
    tools = allowed.get("tools") if isinstance(allowed, dict) else None
    if not isinstance(allowed, dict) or not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        refuse("A `tool_choice` of type `allowed_tools` needs `allowed_tools.tools`.", param="tool_choice")
    return str(allowed.get("mode") or "auto"), [function_name(tool, param="tool_choice") for tool in tools]


def data_url(url: str) -> tuple[str, str] | None:
    """Give media type and base64 of a data URL; None for any other.

    >>> data_url("data:image/png;base64,aGk="), data_url("https://x.example/a.png")
    (('image/png', 'aGk='), None)
    """
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0], data


def refuse(message: str, *, param: str) -> NoReturn:
    """Say that this will never work as asked."""
    raise UpstreamRefused(message, param=param)


def cannot(message: str, *, param: str) -> NoReturn:
    """Say that this model cannot do it; the route's next target may."""
    raise UpstreamUnfit(message, param=param)
