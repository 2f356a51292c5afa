"""How many tokens the images, sounds and files of a request are at most: no one can count them before a model has read them."""

from __future__ import annotations

from typing import Any

MEDIUM_TOKENS = 50_000
"""For each image, sound or file, and for all of an image: models make it smaller, and this is what the dearest makes of a large one."""
ELSEWHERE_TOKENS = 1_000_000
"""For a file of which only the name or the address is here: as much as the models with the largest context read at once."""
MEDIA = frozenset({"image_url", "input_image", "image", "input_audio", "audio", "file", "input_file", "document"})
SOUNDS = frozenset({"input_audio", "audio"})
FILES = frozenset({"file", "input_file", "document"})
NAMES = frozenset({"file_id", "file_url", "file_uri", "url"})
"""Members that say where a file is."""
DATA = frozenset({"data", "file_data"})
"""Members that hold it, as base64; some clients write its address there."""
ADDRESS, SCHEME_CHARACTERS = "://", 16
PDF, SOUND = "data:application/pdf", "data:audio/"
CHARACTERS = {
    # 24 bytes: Gemini hears 32 tokens a second, and speech is hardly ever written in less than 6 kbit/s.
    SOUND: 32,
    # 3 bytes: a page is up to 3,000 tokens, by its picture and its text, and takes 9 kB or more.
    PDF: 4,
}
"""How many characters of base64 are one token, where that is more than one."""
HOLDERS = ("messages", "input", "documents", "document")
"""Where media are read. An object elsewhere, in the schema of a tool say, is text, whatever it calls its type."""


def without_media(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Give a request without the data of its images, sounds and files, and how many tokens those are at most.

    >>> without_media({"messages": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]})
    ({'messages': [{'type': 'image_url', 'image_url': {'url': ''}}]}, 50000)
    >>> without_media({"tools": [{"type": "file", "file_data": "AAAA"}]})
    ({'tools': [{'type': 'file', 'file_data': 'AAAA'}]}, 0)
    """
    plain, tokens = dict(body), 0
    for name in HOLDERS:
        if name in body:
            plain[name], more = _without(body[name])
            tokens += more
    return plain, tokens


def _without(value: Any) -> tuple[Any, int]:
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in MEDIA:
            plain, tokens = _emptied(value, kind)
            return plain, max(MEDIUM_TOKENS, tokens)
        pairs = {name: _without(item) for name, item in value.items()}
        return {name: item for name, (item, _tokens) in pairs.items()}, sum(tokens for _item, tokens in pairs.values())
    if isinstance(value, list):
        items = [_without(item) for item in value]
        return [item for item, _tokens in items], sum(tokens for _item, tokens in items)
    return value, 0


def _emptied(medium: dict[str, Any], kind: str) -> tuple[dict[str, Any], int]:
    """A medium without its data; what else stands in it is text."""
    plain, tokens = dict(medium), 0
    for name, item in medium.items():
        if isinstance(item, dict):
            plain[name], more = _emptied(item, kind)
        elif kind in FILES and isinstance(item, str) and _is_elsewhere(name, item):
            more = ELSEWHERE_TOKENS
        elif isinstance(item, str) and (item.startswith("data:") or name in DATA):
            said = item if item.startswith("data:") else f"data:{medium.get('media_type') or ''}"
            plain[name], more = "", _tokens_of(len(item), kind, said)
        else:
            continue
        tokens += more
    return plain, tokens


def _is_elsewhere(name: str, said: str) -> bool:
    return bool(said) and not said.startswith("data:") and (name in NAMES or (name in DATA and ADDRESS in said[:SCHEME_CHARACTERS]))


def _tokens_of(characters: int, kind: str, said: str) -> int:
    if said.startswith("data:image/"):
        return MEDIUM_TOKENS
    if kind in SOUNDS:
        return characters // CHARACTERS[SOUND]
    return characters // next((many for prefix, many in CHARACTERS.items() if said.startswith(prefix)), 1)
