"""From items to the messages of a chat: what every route understands.

Function calls that follow each other are one message of the assistant, as the chat wire wants parallel calls; they join the text that
stands right before them. Thoughts stay behind unless their maker has signed them: a model thinks anew, but may ask for what it signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apps.assistants.front.wires.responses.thoughts import unsealed

Item = Mapping[str, Any]
Message = dict[str, Any]


def messages_of(items: Iterable[Item]) -> list[Message]:
    """Write items as messages of a chat.

    >>> call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    >>> [message["role"] for message in messages_of([call, {"type": "function_call_output", "call_id": "c1", "output": "7"}])]
    ['assistant', 'tool']
    """
    writing = _Writing()
    for item in items:
        match item["type"]:
            case "message" if item["role"] == "assistant":
                writing.said(item)
            case "message":
                writing.add({"role": item["role"], "content": _content(item["content"])})
            case "function_call":
                writing.called(item)
            case "function_call_output":
                writing.answered(item)
            case "reasoning":
                writing.thoughts += unsealed(item.get("encrypted_content"))
    writing.show()
    return writing.messages


class _Writing:
    """The messages so far, and what waits for the next one."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.thoughts: list[dict[str, str]] = []
        self._shown: list[Message] = []  # pictures that functions gave: a chat's tool speaks text only, so the user shows them afterwards

    def add(self, message: Message) -> None:
        """Begin a message that is not the assistant's; thoughts that led to nothing are forgotten."""
        self.show()
        self.thoughts = []
        self.messages.append(message)

    def show(self) -> None:
        """Show the pictures, now that the results are all there."""
        if self._shown:
            self.messages.append({"role": "user", "content": self._shown})
            self._shown = []

    def said(self, item: Item) -> None:
        text = "".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in item["content"])
        if text:
            self._assistant(text, fresh=True, signed=item)

    def called(self, item: Item) -> None:
        call = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
        if item.get("extra_content") is not None:
            call["extra_content"] = item["extra_content"]
        self._assistant(None).setdefault("tool_calls", []).append(call)

    def answered(self, item: Item) -> None:
        output = item["output"]
        if not isinstance(output, str):
            self._shown += [_part(part) for part in output if "text" not in part]
            output = "\n".join(part["text"] for part in output if "text" in part)
        self.messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})

    def _assistant(self, content: str | None, *, fresh: bool = False, signed: Item | None = None) -> Message:
        self.show()
        if fresh or not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": content})
        message = self.messages[-1]
        if self.thoughts:
            message.setdefault("thinking_blocks", []).extend(self.thoughts)
            self.thoughts = []
        if signed is not None and signed.get("extra_content") is not None:
            message["extra_content"] = signed["extra_content"]
        return message


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
