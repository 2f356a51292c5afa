"""Input items: what a client sent, checked as far as it must be understood, in the one form in which it is stored and listed.

A text becomes a message, a content of one text a list of one part, and each item has an id. What a part holds besides what is read here
stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from apps.assistants.errors import MalformedRequest
from apps.assistants.responses import PREFIX, read_id

Item = dict[str, Any]

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
PREFIXES: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
MADE: Final = re.compile(r"[a-z]+_([0-9a-f]{32})[0-9a-f]{4,}")
ID_LIMIT_CHARACTERS: Final = 256
SHOWN_CHARACTERS: Final = 80


def item_id(kind: str, response_id: UUID, number: int) -> str:
    """The id of the n-th item of a response, input and output counted through: whoever knows it knows the response.

    >>> item_id("message", UUID(int=7), 2)
    'msg_000000000000000000000000000000070002'
    """
    return f"{PREFIXES[kind]}_{response_id.hex}{number:04x}"


def response_of(item: str) -> UUID | None:
    """The response that an item's id was made for; None when it is no id of ours.

    >>> response_of("msg_0198c0a8f2b07c3e9d6f3b1f2a4c5d6e0002"), response_of("msg_1")
    (UUID('0198c0a8-f2b0-7c3e-9d6f-3b1f2a4c5d6e'), None)
    """
    match = MADE.fullmatch(item)
    return read_id(PREFIX + match[1]) if match else None


def short(said: object) -> str:
    """What a client said, as far as it fits into a message to him.

    >>> len(short("a" * 1000))
    80
    """
    return str(said)[:SHOWN_CHARACTERS]


def references(given: object) -> Sequence[str]:
    """The ids of the stored items that an input refers to."""
    if not isinstance(given, list):
        return ()
    return [item["id"] for item in given if isinstance(item, dict) and _kind(item) == "item_reference" and isinstance(item.get("id"), str)]


def read(given: object, *, response_id: UUID, known: Mapping[str, Item]) -> list[Item]:
    """Read the member `input`; `known` holds the items that it refers to. Raises `MalformedRequest` naming the place."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise MalformedRequest("`input` is a text or a list of items.", param="input")
    items: list[Item] = []
    for index, item in enumerate(given):
        at = f"input[{index}]"
        if not isinstance(item, dict):
            raise MalformedRequest("An item of `input` is an object.", param=at)
        kind = _kind(item)
        if kind == "item_reference":
            items.append(_referred(item, known, at))
            continue
        if not isinstance(kind, str) or kind not in READERS:
            raise MalformedRequest(f"Items of the type `{short(kind)}` are not taken here.", param=f"{at}.type")
        items.append(_named(READERS[kind](item, at), kind, response_id, index))
    return items


def _kind(item: Mapping[str, Any]) -> object:
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference" if item.keys() == {"id"} else None
    return kind


def _referred(item: Item, known: Mapping[str, Item], at: str) -> Item:
    named = item.get("id")
    found = known.get(named) if isinstance(named, str) else None
    if found is None:
        raise MalformedRequest(f"There is no stored item `{short(named)}`.", param=f"{at}.id")
    return found


def _named(item: Item, kind: str, response_id: UUID, number: int) -> Item:
    given = item.get("id")
    if given is not None and (not isinstance(given, str) or len(given) > ID_LIMIT_CHARACTERS):
        raise MalformedRequest("The `id` of an item is a text.", param=f"input[{number}].id")
    return {**item, "id": given or item_id(kind, response_id, number), "status": item.get("status") or "completed"}


def _message(item: Item, at: str) -> Item:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise MalformedRequest("The `role` of a message is user, assistant, system or developer.", param=f"{at}.role")
    spoken = role == "assistant"
    if isinstance(content, str):
        content = [{"type": "output_text", "text": content, "annotations": []} if spoken else {"type": "input_text", "text": content}]
    return {**item, "type": "message", "role": role, "content": _parts(content, f"{at}.content", SPOKEN if spoken else SENT)}


def _function_call(item: Item, at: str) -> Item:
    for name in ("call_id", "name", "arguments"):
        _text(item, name, at)
    return item


def _function_call_output(item: Item, at: str) -> Item:
    _text(item, "call_id", at)
    if not isinstance(item.get("output"), str):
        return {**item, "output": _parts(item.get("output"), f"{at}.output", SENT)}
    return item


def _reasoning(item: Item, at: str) -> Item:
    for name in ("summary", "content"):
        if item.get(name) is not None and not isinstance(item[name], list):
            raise MalformedRequest(f"The `{name}` of a reasoning item is a list of parts.", param=f"{at}.{name}")
    return {**item, "summary": item.get("summary") or []}


READERS: Final[Mapping[str, Callable[[Item, str], Item]]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_call_output,
    "reasoning": _reasoning,
}


def _parts(given: object, at: str, kinds: Mapping[str, Callable[[Item, str], None]]) -> list[Item]:
    if not isinstance(given, list):
        raise MalformedRequest("The content is a text or a list of parts.", param=at)
    for index, part in enumerate(given):
        place = f"{at}[{index}]"
        if not isinstance(part, dict):
            raise MalformedRequest("A part of the content is an object.", param=place)
        check = kinds.get(str(part.get("type")))
        if check is None:
            raise MalformedRequest(f"A part of the type `{short(part.get('type'))}` cannot stand here.", param=f"{place}.type")
        check(part, place)
    return given


def _text(holder: Item, name: str, at: str) -> None:
    if not isinstance(holder.get(name), str):
        raise MalformedRequest(f"`{name}` is required, and a text.", param=f"{at}.{name}")


def _image(part: Item, at: str) -> None:
    if part.get("file_id") is not None:
        raise MalformedRequest("No files are kept here: send the image as `image_url`, an address or a data URL.", param=f"{at}.file_id")
    _text(part, "image_url", at)


def _file(part: Item, at: str) -> None:
    if part.get("file_url") is not None:
        raise MalformedRequest("Files are not fetched here: send the file itself as `file_data`.", param=f"{at}.file_url")
    _text(part, "file_data" if part.get("file_id") is None else "file_id", at)


def _audio(part: Item, at: str) -> None:
    if not isinstance(part.get("input_audio"), dict):
        raise MalformedRequest("`input_audio` is an object with `data` and `format`.", param=f"{at}.input_audio")


SPOKEN: Final[Mapping[str, Callable[[Item, str], None]]] = {
    "output_text": lambda part, at: _text(part, "text", at),
    "input_text": lambda part, at: _text(part, "text", at),
    "refusal": lambda part, at: _text(part, "refusal", at),
}
SENT: Final[Mapping[str, Callable[[Item, str], None]]] = {
    "input_text": lambda part, at: _text(part, "text", at),
    "output_text": lambda part, at: _text(part, "text", at),
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
