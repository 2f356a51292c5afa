"""From items to the messages of a chat: what every route understands.

Function calls that follow each other are one message of the assistant, as the chat wire wants parallel calls; they join the text that
stands right before them. Thoughts stay behind unless their maker has signed them: a model thinks anew, but may ask for what it signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apps.assistants.front.wires.responses.copies import Copy
from apps.assistants.front.wires.responses.thoughts import unsealed

Item = dict[str, Any]
Message = dict[str, Any]


def messages_of(items: Iterable[Item]) -> tuple[list[Message], list[Copy]]:
    """Write items as messages of a chat, and say where each text went.

    >>> call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    >>> messages, copies = messages_of([call, {"type": "function_call_output", "call_id": "c1", "output": "7"}])
    >>> [message["role"] for message in messages], [copy.was for copy in copies]
    (['assistant', 'tool'], ['{}', '7'])
    """
    writing = _Writing()
    for item in items:
        match item["type"]:
            case "message" if item["role"] == "assistant":
                writing.said(item)
            case "message":
                writing.heard(item)
            case "function_call":
                writing.called(item)
            case "function_call_output":
                writing.answered(item)
            case "reasoning":
                writing.thoughts += unsealed(item.get("encrypted_content"))
    writing.show()
    return writing.messages, writing.copies


class _Writing:
    """The messages so far, and what waits for the next one."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.copies: list[Copy] = []
        self.thoughts: list[dict[str, str]] = []
        self._shown: list[Message] = []  # pictures that functions gave: a chat's tool speaks text only, so the user shows them afterwards

    def heard(self, item: Item) -> None:
        """Write a message that is not the assistant's; thoughts that led to nothing are forgotten."""
        self.show()
        self.thoughts = []
        parts: list[Item] = item["content"]
        message: Message = {"role": item["role"]}
        if len(parts) == 1 and "text" in parts[0]:  # not every upstream reads lists
            message["content"] = parts[0]["text"]
            self.copies.append(Copy([(parts[0], "text")], message, "content"))
        else:
            message["content"] = [self._part(part) for part in parts]
        self.messages.append(message)

    def show(self) -> None:
        """Show the pictures, now that the results are all there."""
        if self._shown:
            self.messages.append({"role": "user", "content": self._shown})
            self._shown = []

    def said(self, item: Item) -> None:
        texts = [(part, "refusal" if part["type"] == "refusal" else "text") for part in item["content"]]
        if text := "".join(part[member] for part, member in texts):
            self.copies.append(Copy(texts, self._assistant(text, fresh=True, signed=item), "content"))

    def called(self, item: Item) -> None:
        call = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
        if item.get("extra_content") is not None:
            call["extra_content"] = item["extra_content"]
        self._assistant(None).setdefault("tool_calls", []).append(call)
        self.copies.append(Copy([(item, "arguments")], call["function"], "arguments"))

    def answered(self, item: Item) -> None:
        output, texts = item["output"], [(item, "output")]
        if not isinstance(output, str):
            self._shown += [self._part(part) for part in output if "text" not in part]
            texts = [(part, "text") for part in output if "text" in part]
            output = "\n".join(part["text"] for part, _member in texts)
        message = {"role": "tool", "tool_call_id": item["call_id"], "content": output}
        self.copies.append(Copy(texts, message, "content"))
        self.messages.append(message)

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

    def _part(self, part: Item) -> Message:
        match part["type"]:
            case "input_image":
                image = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
                return {"type": "image_url", "image_url": image}
            case "input_file":
                names = ("file_id", "filename", "file_data")
                return {"type": "file", "file": {name: part[name] for name in names if part.get(name) is not None}}
            case "input_audio":
                return {"type": "input_audio", "input_audio": part["input_audio"]}
        said = {"type": "text", "text": part["text"]}
        self.copies.append(Copy([(part, "text")], said, "text"))
        return said
