"""The texts of a chunk, each with a name that is the same in the next one; and the deltas that carry more of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from apps.gateway.guardrails import texts
from apps.gateway.guardrails.places import Place, Thought, of_member

THOUGHT = ("reasoning", "thinking_blocks", "thinking in")
"""What the names of thoughts begin with: `reasoning_content`, `reasoning_details`, `thinking_blocks 0`, …"""

TOLD = ("thinking", "text", "summary", "signature", "data")


class Piece(NamedTuple):
    """A piece of a text."""

    name: str
    place: Place | None
    """None for a tool of which nothing is said yet."""
    whole: bool = False
    """Nothing of it will follow."""


def of_choice(choice: dict[str, Any]) -> list[Piece]:
    """The texts of a chunk's choice."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return list(_of_delta(delta))
    return [Piece("text", place) for place in of_member(choice, "text")]


def _of_delta(delta: dict[str, Any]) -> Iterator[Piece]:
    for member in texts.TEXT_MEMBERS:
        for place in of_member(delta, member):
            yield Piece(f"thinking in {member}" if isinstance(place, Thought) else member, place)
    for member, number, place in texts.of_thoughts(delta):
        yield Piece(_numbered(member, place.container, number, place.key), place)
    audio = delta.get("audio")
    if isinstance(audio, dict):
        for place in of_member(audio, "transcript"):
            yield Piece("audio", place)
    calls = delta.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            yield from _of_call(call, number)
    yield from _pieces("function", delta.get("function_call"), "arguments")


def _of_call(call: dict[str, Any], number: int) -> Iterator[Piece]:
    at = call.get("index", number)
    is_custom = isinstance(call.get("custom"), dict)
    name = f"{'custom' if is_custom else 'tool'} {at}"
    is_whole = "index" not in call and bool(call.get("id"))  # some number nothing, and send each call at once
    found = list(_pieces(name, call.get("custom" if is_custom else "function"), "input" if is_custom else "arguments", whole=is_whole))
    yield from found or [Piece(name, None)]


def _pieces(name: str, called: object, member: str, *, whole: bool = False) -> Iterator[Piece]:
    for place in texts.of_arguments(called, member):
        yield Piece(name, place, whole=whole or place.container is not called)


def _numbered(member: str, piece: dict[str, Any], number: int, key: str) -> str:
    return f"{member} {piece.get('index', number)} {key}"


def is_thought(name: str) -> bool:
    """Whether it is the name of a thought."""
    return name.startswith(THOUGHT)


def is_signed(name: str) -> bool:
    """Whether its maker may sign it: it must stay as it is, to be of any use when a client gives it back."""
    return name.startswith(tuple(texts.THOUGHTS))


def signed(choice: dict[str, Any]) -> list[tuple[list[str], dict[str, Any]]]:
    """The thoughts that end with this chunk, for their maker signs them in it: with the names of what was signed."""
    delta = choice.get("delta")
    found: list[tuple[list[str], dict[str, Any]]] = []
    for member, keys in texts.THOUGHTS.items():
        pieces = delta.get(member) if isinstance(delta, dict) else None
        for number, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if isinstance(piece, dict) and piece.get("signature"):
                found.append(([_numbered(member, piece, number, key) for key in keys], piece))
    return found


def is_empty(choice: dict[str, Any]) -> bool:
    """Whether nothing is left to be said in it."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return not choice.get("text")
    return not any(_says(name, value) for name, value in delta.items())


def _says(name: str, value: object) -> bool:
    if name not in texts.THOUGHTS or not isinstance(value, list):
        return bool(value)
    return any(not isinstance(piece, dict) or any(piece.get(member) for member in TOLD) for piece in value)


def carrying(index: int, rests: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Choices that carry more of these texts: what was thought, then what was said.

    >>> carrying(0, [("tool 1", "}"), ("reasoning", "Hm")])[1]
    {'index': 0, 'delta': {'tool_calls': [{'index': 1, 'function': {'arguments': '}'}}]}, 'finish_reason': None}
    """
    merged: list[tuple[bool, dict[str, Any]]] = []
    for name, rest in sorted(rests, key=lambda rest: not is_thought(rest[0])):
        delta, thought = _delta(name, rest), is_thought(name)
        if not merged or merged[-1][0] != thought:
            merged.append((thought, delta))
            continue
        last = merged[-1][1]
        for member, value in delta.items():
            last[member] = [*last[member], *value] if member in last else value
    return [{"index": index, **(delta if "text" in delta else {"delta": delta}), "finish_reason": None} for _, delta in merged]


def _delta(name: str, text: str) -> dict[str, Any]:
    kind, _, rest = name.partition(" ")
    number, _, key = rest.partition(" ")
    at = int(number) if number.isdigit() else 0
    carriers: dict[str, dict[str, Any]] = {
        "tool": {"tool_calls": [{"index": at, "function": {"arguments": text}}]},
        "custom": {"tool_calls": [{"index": at, "custom": {"input": text}}]},
        "function": {"function_call": {"arguments": text}},
        "audio": {"audio": {"transcript": text}},
        "thinking": {key: [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
        "thinking_blocks": {kind: [{"index": at, "type": "thinking", "thinking": text, "signature": ""}]},
        "reasoning_details": {kind: [{"index": at, "type": f"reasoning.{key}", key: text}]},
    }
    return carriers.get(kind, {name: text})
