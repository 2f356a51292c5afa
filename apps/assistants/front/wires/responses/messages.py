"""From items to the messages of a chat: what every route understands.

Function calls that follow each other are one message of the assistant, as the chat wire wants parallel calls; they join the text that
stands right before them. Reasoning stays behind: the chat wire has no place for it, and a model thinks anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]
Message = dict[str, Any]


def messages_of(items: Iterable[Item]) -> list[Message]:
    """Write items as messages of a chat.

    >>> call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    >>> [message["role"] for message in messages_of([call, {"type": "function_call_output", "call_id": "c1", "output": "7"}])]
    ['assistant', 'tool']
    """
    messages: list[Message] = []
    for item in items:
        match item["type"]:
            case "message" if item["role"] == "assistant":
                if said := _said(item["content"]):
                    messages.append({"role": "assistant", "content": said})
            case "message":
                messages.append({"role": item["role"], "content": _content(item["content"])})
            case "function_call":
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append(
                    {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
                )
            case "function_call_output":
                output = item["output"]
                content = output if isinstance(output, str) else _content(output)
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    return messages


def _said(parts: Iterable[Item]) -> str:
    """What the assistant said; a refusal is what it said, too."""
    return "".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in parts)


def _content(parts: list[Item]) -> str | list[Message]:
    """A text where there is nothing else: not every upstream reads lists."""
    if len(parts) == 1 and "text" in parts[0]:
        text: str = parts[0]["text"]
        return text
    return [_part(part) for part in parts]


def _part(part: Item) -> Message:
    match part["type"]:
        case "input_image":
            image = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
            return {"type": "image_url", "image_url": image}
        case "input_file":
            names = ("file_id", "filename", "file_data")
            return {"type": "file", "file": {name: part[name] for name in names if part.get(name) is not None}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case _:
            return {"type": "text", "text": part["text"]}
