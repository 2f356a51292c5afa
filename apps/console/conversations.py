"""What was asked and answered as a conversation that one can read, whatever a client wrote into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext

from apps.console.snippets import coloured
from apps.console.templatetags.look import grouped

LONG_CHARACTERS = 1_500
BEGINNING_CHARACTERS = 280
MOST_COLOURED_CHARACTERS = 40_000
"""Colours of a longer text take longer than the page may."""
TEXT_PARTS = {"text", "input_text", "output_text"}
FILE_PARTS = {
    "image_url": gettext_lazy("An image"),
    "input_image": gettext_lazy("An image"),
    "image": gettext_lazy("An image"),
    "input_audio": gettext_lazy("A recording"),
    "file": gettext_lazy("A file"),
    "input_file": gettext_lazy("A file"),
}
ROLES = {
    "system": gettext_lazy("System"),
    "developer": gettext_lazy("Developer"),
    "user": gettext_lazy("User"),
    "assistant": gettext_lazy("Assistant"),
    "tool": gettext_lazy("Tool"),
    "function": gettext_lazy("Tool"),
    "input": gettext_lazy("Input"),
    "output": gettext_lazy("Output"),
    "error": gettext_lazy("Error"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that was said: plain text, or with a title what else it is."""

    text: str
    title: str = ""
    is_code: bool = False

    @property
    def is_long(self) -> bool:
        """Whether only its beginning is shown at first."""
        return len(self.text) > LONG_CHARACTERS

    @property
    def beginning(self) -> str:
        """Its first words."""
        return self.text[:BEGINNING_CHARACTERS].rstrip()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said at once."""

    role: str
    name: str = ""
    pieces: list[Piece] = field(default_factory=list)

    @property
    def who(self) -> str:
        """The role in words; one that we do not know as it was written."""
        return str(ROLES.get(self.role, self.role))


def asked(request: Any) -> list[Turn]:
    """The turns of a request: its messages, or what else went in.

    >>> [(turn.role, turn.pieces[0].text) for turn in asked({"messages": [{"role": "user", "content": "Hi"}, {"role": "x", "content": 5}]})]
    [('user', 'Hi'), ('x', '5')]
    >>> asked({"input": ["a", "b"]})[0].pieces[1].text, asked(None)
    ('b', [])
    """
    if not isinstance(request, dict):
        return []
    messages = request.get("messages")
    if isinstance(messages, list):
        return [_turn(message) for message in messages]
    pieces = [piece for member in ("prompt", "query", "input", "documents") for piece in _content(request.get(member))]
    return [Turn("input", pieces=pieces)] if pieces else []


def answered(answer: Any) -> list[Turn]:
    """The turns of an answer: one for each choice, and the error that ended it.

    >>> [turn.role for turn in answered({"object": "list", "data": [{"embedding": [0.1]}]})]
    ['output']
    >>> [turn.pieces[0].text for turn in answered({"choices": [{"message": {"content": "Yes"}}], "error": {"message": "gone"}})]
    ['Yes', 'gone']
    """
    if not isinstance(answer, dict):
        return []
    choices = answer.get("choices")
    turns = [_turn(_message(choice)) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    vectors = answer.get("data")
    if isinstance(vectors, list) and answer.get("object") == "list":
        count = ngettext("%(n)s vector", "%(n)s vectors", len(vectors)) % {"n": grouped(len(vectors))}
        turns.append(Turn("output", pieces=[Piece(count)]))
    error = answer.get("error")
    if error:
        said = error.get("message") if isinstance(error, dict) else error
        turns.append(Turn("error", pieces=[Piece(str(said or _json(error)))]))
    return [turn for turn in turns if turn.pieces]


def raw(said: Any) -> SafeString:
    """Everything that is kept, as JSON; with colours where it is not too long."""
    text = _json(said)
    return coloured(text, "json") if len(text) <= MOST_COLOURED_CHARACTERS else escape(text)


def _message(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    return {"role": "assistant", **message} if isinstance(message, dict) else {"role": "assistant", "content": choice.get("text")}


def _turn(message: Any) -> Turn:
    if not isinstance(message, dict):
        return Turn("input", pieces=_content(message))
    pieces: list[Piece] = []
    for member in ("reasoning_content", "reasoning"):
        pieces += [Piece(piece.text, gettext("Thoughts")) for piece in _content(message.get(member))]
    pieces += _content(message.get("content"))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        pieces.append(Piece(message["refusal"], gettext("Refusal")))
    pieces += _tools(message)
    return Turn(_word(message.get("role")), _word(message.get("name") or message.get("tool_call_id")), pieces)


def _content(content: Any) -> list[Piece]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Piece(content)]
    if isinstance(content, list) and not all(isinstance(item, int | list) for item in content):
        return [_part(part) for part in content]
    return [Piece(_json(content), is_code=True)]


def _part(part: Any) -> Piece:
    if isinstance(part, str):
        return Piece(part)
    kind = _word(part.get("type")) if isinstance(part, dict) else ""
    if kind in TEXT_PARTS and isinstance(part.get("text"), str):
        return Piece(part["text"])
    if kind == "refusal":
        return Piece(str(part.get("refusal")), gettext("Refusal"))
    if kind in FILE_PARTS:
        return Piece(_address(part), str(FILE_PARTS[kind]))
    return Piece(_json(part), kind, is_code=True)


def _address(part: dict[str, Any]) -> str:
    """Where a file is, or how it is called; what stands in the request itself is told by its size."""
    inside = next((value for key, value in part.items() if key != "type" and isinstance(value, dict)), part)
    for member in ("filename", "url", "image_url", "file_id", "format"):
        said = inside.get(member)
        if isinstance(said, str) and said and not said.startswith("data:"):
            return said
    size = max((len(value) for value in inside.values() if isinstance(value, str)), default=0)
    return gettext("in the request itself, %(n)s characters") % {"n": grouped(size)}


def _tools(message: dict[str, Any]) -> Iterator[Piece]:
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    for function in [*functions, message.get("function_call")]:
        if isinstance(function, dict):
            name = gettext("Calls %(name)s") % {"name": _word(function.get("name"))}
            yield Piece(_pretty(function.get("arguments")), name, is_code=True)


def _pretty(arguments: Any) -> str:
    try:
        return _json(json.loads(arguments)) if isinstance(arguments, str) else _json(arguments)
    except (ValueError, RecursionError):
        return str(arguments)


def _json(said: Any) -> str:
    return json.dumps(said, indent=2, ensure_ascii=False)


def _word(said: Any) -> str:
    return said if isinstance(said, str) else ""
