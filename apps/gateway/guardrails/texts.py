"""Where a request and an answer hold text, as OpenAI's wire writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apps.gateway.guardrails.places import Place, Thought, is_text, leaves, of_member, unread_in

TEXT_MEMBERS = ("content", "refusal", "reasoning_content", "reasoning")
"""Of a message or a delta: what it says."""
THOUGHTS = {"thinking_blocks": ("thinking",), "reasoning_details": ("text", "summary")}
"""Where some say once more, piece by piece and signed, what was thought."""
INPUT_MEMBERS = ("input", "prompt", "suffix", "query", "stop", "user", "safety_identifier", "prompt_cache_key")
DEEP_MEMBERS = ("documents", "metadata")
DECLARING = ("tools", "functions", "response_format")
STRUCTURE = frozenset({"type", "name", "$ref", "required", "dependentRequired"})
"""What holds a declaration together is no text: a rule that rewrote it would break what it declares."""


def of_request(body: dict[str, Any]) -> list[Place]:
    """Every text of a request: messages with their parts and tool arguments, inputs, documents, who asks, what tools and answers are like.

    >>> [place.text for place in of_request({"messages": [{"content": "a"}, {"content": [{"type": "text", "text": "b"}]}], "input": ["c"]})]
    ['a', 'b', 'c']
    """
    found: list[Place] = []
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            found += of_message(message)
            found += of_member(message, "name")
    for member in INPUT_MEMBERS:
        found += of_member(body, member)
    prediction = body.get("prediction")
    if isinstance(prediction, dict):
        found += of_member(prediction, "content")
    for member in DEEP_MEMBERS:
        found += leaves(body.get(member))
    for member in DECLARING:
        found += leaves(body.get(member), but=STRUCTURE)
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
    found += [place for _, _, place in of_thoughts(message)]
    return found + of_tools(message)


def of_thoughts(message: dict[str, Any]) -> Iterator[tuple[str, int, Place]]:
    """The pieces of what was thought, each with the member that holds it and its number there."""
    said = "".join(str(message.get(member) or "") for member in ("reasoning_content", "reasoning"))
    for member, names in THOUGHTS.items():
        pieces = message.get(member)
        for number, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            for name in names if isinstance(piece, dict) else ():
                if is_text(piece.get(name)):
                    yield member, number, Thought(piece, name, again=piece[name] in said)


def of_tools(message: dict[str, Any]) -> list[Place]:
    """What the tools are given that a message calls."""
    calls = message.get("tool_calls")
    found: list[Place] = []
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            found += of_arguments(call.get("function"), "arguments")
            found += of_arguments(call.get("custom"), "input")
    return found + of_arguments(message.get("function_call"), "arguments")


def of_arguments(called: object, member: str) -> list[Place]:
    """What one tool is given: a text, or what some write as the value that the text would be."""
    given = called.get(member) if isinstance(called, dict) else None
    return [Place(called, member)] if is_text(given) else list(leaves(given))


def unread(body: dict[str, Any]) -> str | None:
    """What of a request nobody here can read; None when all of it is text."""
    messages = body.get("messages")
    said = [message.get("content") for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    return next(filter(None, map(unread_in, (*said, body.get("input"), body.get("prompt")))), None)
