"""Where a request and an answer hold text, as OpenAI's wire writes them; each place can be read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

TEXT_MEMBERS = ("content", "refusal", "reasoning_content", "reasoning")
"""Of a message or a delta: what it says."""
PART_MEMBERS = ("text", "refusal", "transcript")
INPUT_MEMBERS = ("input", "prompt", "query", "documents")


class Place(NamedTuple):
    """A text inside a parsed body."""

    container: Any
    key: Any

    @property
    def text(self) -> str:
        """What stands there."""
        text: str = self.container[self.key]
        return text

    def write(self, text: str) -> None:
        """Put something else there."""
        self.container[self.key] = text


def of_request(body: dict[str, Any]) -> list[Place]:
    """Every text of a request: messages with their parts and tool arguments, inputs, queries, documents.

    >>> [place.text for place in of_request({"messages": [{"content": "a"}, {"content": [{"type": "text", "text": "b"}]}], "input": ["c"]})]
    ['a', 'b', 'c']
    """
    found: list[Place] = []
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            found += of_message(message)
    for member in INPUT_MEMBERS:
        found += of_member(body, member)
    prediction = body.get("prediction")
    if isinstance(prediction, dict):
        found += of_member(prediction, "content")
    return found


def of_answer(answer: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Place]]]:
    """Each choice of an answer with its texts."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            message = choice.get("message")
            found = of_message(message) if isinstance(message, dict) else []
            yield choice, [*found, *of_member(choice, "text")]


def of_message(message: dict[str, Any]) -> list[Place]:
    """The texts of one message."""
    found: list[Place] = []
    for member in TEXT_MEMBERS:
        found += of_member(message, member)
    audio = message.get("audio")
    if isinstance(audio, dict):
        found += of_member(audio, "transcript")
    return found + of_tools(message)


def of_tools(message: dict[str, Any]) -> list[Place]:
    """The arguments of the tools that a message calls."""
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    found = [Place(function, "arguments") for function in functions if _has_text(function, "arguments")]
    if _has_text(message.get("function_call"), "arguments"):
        found.append(Place(message["function_call"], "arguments"))
    return found


def is_opaque(body: dict[str, Any]) -> bool:
    """Whether the input is tokens, which nobody here can read.

    >>> is_opaque({"input": [[1, 2]]}), is_opaque({"input": ["a"]})
    (True, False)
    """
    for member in ("input", "prompt"):
        given = body.get(member)
        if isinstance(given, list) and any(isinstance(item, int | list) for item in given):
            return True
    return False


def of_member(container: dict[str, Any], member: str) -> list[Place]:
    """The texts of one member: itself, or those of its parts."""
    said = container.get(member)
    if isinstance(said, str):
        return [Place(container, member)] if said else []
    found: list[Place] = []
    for number, part in enumerate(said if isinstance(said, list) else ()):
        if isinstance(part, str) and part:
            found.append(Place(said, number))
        elif isinstance(part, dict):
            found += [Place(part, name) for name in PART_MEMBERS if _has_text(part, name)]
            if isinstance(part.get("content"), str | list):
                found += of_member(part, "content")
    return found


def _has_text(container: object, member: str) -> bool:
    return isinstance(container, dict) and isinstance(container.get(member), str) and bool(container[member])
