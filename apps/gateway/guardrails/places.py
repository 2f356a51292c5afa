"""A text inside a parsed body: it can be read, and something else can be put there."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote, unquote_to_bytes

TEXT_PARTS = ("text", "refusal", "transcript")
SPOKEN = frozenset({"text", "refusal", "input_text", "output_text", "thinking", "redacted_thinking", "reasoning"})
"""Kinds of parts that are text or nothing, whatever is in them."""
UNREAD = {
    "image_url": "an image",
    "image": "an image",
    "input_image": "an image",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "a video",
    "file": "a file",
    "input_file": "a file",
    "document": "a file",
}
DEEPEST = 4
"""Parts in parts; what lies deeper is walked leaf by leaf."""


class Place:
    """A text, by what holds it."""

    __slots__ = ("again", "container", "key")

    def __init__(self, container: Any, key: Any, *, again: bool = False) -> None:
        self.container = container
        self.key = key
        self.again = again
        """Whether the same is said in another place, too."""

    @property
    def text(self) -> str:
        """What stands there."""
        text: str = self.container[self.key]
        return text

    def put(self, text: str) -> None:
        """Let something else stand there."""
        self.container[self.key] = text

    def write(self, text: str) -> None:
        """Put there what a rule made of it."""
        self.put(text)


class Thought(Place):
    """What a model thought, which its maker may have signed."""

    __slots__ = ()

    @property
    def is_signed(self) -> bool:
        """Whether it must stay as it is, to be of any use when a client gives it back."""
        return bool(self.container.get("signature"))

    def write(self, text: str) -> None:
        """Put it there, without the signature: that is for what stood there before."""
        self.put(text)
        if self.is_signed:
            self.container["signature"] = ""


class Enclosed(Place):
    """A text that was attached as a file, in a data URL."""

    __slots__ = ("_head", "_text")
    _head: str
    _text: str

    @classmethod
    def of(cls, container: Any, key: str) -> Self | None:
        """Read it; None for what is no text.

        >>> Enclosed.of({"file_data": "data:text/plain;base64,aGk="}, "file_data").text
        'hi'
        """
        url = container.get(key)
        head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
        media, *parameters = head.lower().split(";")
        if not comma or not (media.startswith("data:text/") or media in {"data:application/json", "data:"}):
            return None
        try:
            written = b64decode(data) if "base64" in parameters else unquote_to_bytes(data)
            text = written.decode("utf-8")
        except (Error, ValueError):
            return None
        place = cls(container, key)
        place._head, place._text = head, text
        return place

    @property
    def text(self) -> str:
        """What the file says."""
        return self._text

    def put(self, text: str) -> None:
        """Enclose another text."""
        written = text.encode("utf-8", "replace")
        self._text = text
        self.container[self.key] = f"{self._head},{b64encode(written).decode() if 'base64' in self._head.lower() else quote(written)}"


def of_member(container: dict[str, Any], member: str, *, depth: int = 0) -> list[Place]:
    """The texts of one member: itself, or those of its parts."""
    said = container.get(member)
    if isinstance(said, str):
        return [Place(container, member)] if said else []
    found: list[Place] = []
    for number, part in enumerate(said if isinstance(said, list) else ()):
        if isinstance(part, str) and part:
            found.append(Place(said, number))
        elif isinstance(part, dict):
            found += _of_part(part, depth)
    return found


def _of_part(part: dict[str, Any], depth: int) -> list[Place]:
    if depth > DEEPEST:
        return list(leaves(part, but={"type"}))
    found = [Place(part, name) for name in TEXT_PARTS if is_text(part.get(name))]
    if is_text(part.get("thinking")):
        found.append(Thought(part, "thinking"))
    elif isinstance(part.get("thinking"), list):
        found += [Thought(place.container, place.key) for place in of_member(part, "thinking", depth=depth + 1)]
    file = part.get("file")
    if isinstance(file, dict):
        found += of_member(file, "filename")
        if (enclosed := Enclosed.of(file, "file_data")) is not None:
            found.append(enclosed)
    return found + of_member(part, "content", depth=depth + 1)


def unread_in(said: object, depth: int = 0) -> str | None:
    """What of a member's parts nobody here can read.

    >>> unread_in([{"type": "text", "text": "a"}]), unread_in([{"type": "image_url", "image_url": {"url": "x"}}]), unread_in([[1, 2]])
    (None, 'an image', 'tokens')
    """
    for part in said if isinstance(said, list) else ():
        if isinstance(part, int | list):
            return "tokens"
        if isinstance(part, dict):
            kind = part.get("type")
            what = UNREAD.get(kind) if isinstance(kind, str) else None
            found = _of_part(part, depth)
            if what == "a file" and any(isinstance(place, Enclosed) for place in found):
                what = None
            elif what is None and not found and kind not in SPOKEN:
                what = "something that is no text"
            what = what or (unread_in(part.get("content"), depth + 1) if depth < DEEPEST else None)
            if what is not None:
                return what
    return None


def leaves(value: Any, *, but: frozenset[str] | set[str] = frozenset()) -> Iterator[Place]:
    """Every text in a value, however deep. Names of members are none, nor is what members called `but` say of themselves.

    >>> [place.text for place in leaves({"type": "a", "b": ["c", {"d": "e", "type": {"f": "g"}}]}, but={"type"})]
    ['c', 'e', 'g']
    """
    waiting = [value]
    while waiting:
        container = waiting.pop()
        within: list[Any] = []
        for key, item in container.items() if isinstance(container, dict) else enumerate(container) if isinstance(container, list) else ():
            if isinstance(item, dict):
                within.append(item)
            elif key in but:
                continue
            elif is_text(item):
                yield Place(container, key)
            elif isinstance(item, list):
                within.append(item)
        waiting += reversed(within)


def is_text(value: object) -> bool:
    """Whether it says anything."""
    return isinstance(value, str) and bool(value)
