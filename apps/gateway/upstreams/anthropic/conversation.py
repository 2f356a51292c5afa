"""The conversation: OpenAI's messages as Anthropic's system prompt and turns.

Anthropic knows two speakers who take turns. Results of tools are what the user says, all of one turn together and before anything
else; a system message in the middle goes to the beginning, where Anthropic keeps all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apps.gateway.upstreams.anthropic.parts import blocks_of
from apps.gateway.upstreams.openai.request import arguments_of, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apps.gateway.upstreams.anthropic.parts import Block
    from apps.gateway.upstreams.openai.request import Message, ToolCall

INSTRUCTING = frozenset({"system", "developer"})
SPEAKING = frozenset({"user", "assistant"})
THINKING = {"thinking": ("type", "signature", "thinking"), "redacted_thinking": ("type", "data")}
BEYOND_IDS = re.compile(r"[^a-zA-Z0-9_-]")

Turn = dict[str, object]


def system_of(messages: Iterable[Message]) -> list[Block]:
    """Give the blocks of the system prompt."""
    return [
        block
        for message in messages
        if message.role in INSTRUCTING
        for block in blocks_of(message.content, cache_control=message.cache_control)
    ]


def turns_of(messages: Iterable[Message]) -> list[Turn]:
    """Give the turns; raises UpstreamRefused for a role that nobody has."""
    turns: list[tuple[str, list[Block]]] = []
    for message in messages:
        if message.role in INSTRUCTING:
            continue
        speaker, blocks = _said(message)
        if not blocks:
            continue
        if turns and turns[-1][0] == speaker:
            turns[-1][1].extend(blocks)
        else:
            turns.append((speaker, blocks))
    if turns and turns[-1][0] == "assistant":
        _trim(turns[-1][1])
    return [{"role": speaker, "content": blocks} for speaker, blocks in turns]


def _said(message: Message) -> tuple[str, list[Block]]:
    if message.role == "tool":
        return "user", [_result(message)]
    if message.role not in SPEAKING:
        refuse(f"No message has the role `{message.role}`.", param="messages")
    blocks = blocks_of(message.content or message.refusal, cache_control=message.cache_control)
    return message.role, [*thoughts_of(message), *blocks, *map(_use, message.tool_calls or ())]


def thoughts_of(message: Message) -> list[Block]:
    """Give thinking back as it came, without what was put beside it since. What is not signed is not Claude's, and would be refused."""
    return [
        {name: block[name] for name in names}
        for block in message.thinking_blocks or ()
        if (names := THINKING.get(str(block.get("type")))) is not None and block.get(names[1]) and names[-1] in block
    ]


def _use(call: ToolCall) -> Block:
    block: Block = {"type": "tool_use", "id": id_of(call.id), "name": call.function.name, "input": arguments_of(call.function.arguments)}
    return block if call.cache_control is None else {**block, "cache_control": call.cache_control}


def _result(message: Message) -> Block:
    if not message.tool_call_id:
        refuse("A message of the role `tool` needs `tool_call_id`.", param="messages")
    block: Block = {"type": "tool_result", "tool_use_id": id_of(message.tool_call_id)}
    if content := blocks_of(message.content):
        block["content"] = message.content if isinstance(message.content, str) else content
    if message.is_error is not None:
        block["is_error"] = message.is_error
    if message.cache_control is not None:
        block["cache_control"] = message.cache_control
    return block


def id_of(call: str) -> str:
    """Give the id of a call in the letters that Anthropic takes: the call may have been another provider's.

    >>> id_of("functions.now:0")
    'functions_now_0'
    """
    return BEYOND_IDS.sub("_", call)


def _trim(blocks: list[Block]) -> None:
    """Take the blanks off an answer that is to be continued: Anthropic refuses one that ends in them."""
    last = blocks[-1]
    if last["type"] == "text":
        blocks[-1] = {**last, "text": last["text"].rstrip()}
        if not blocks[-1]["text"]:
            del blocks[-1]
