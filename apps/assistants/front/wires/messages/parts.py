"""What a message is made of: Anthropic's blocks as the parts of a chat message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.assistants.errors import MalformedRequest


def parts_of(blocks: Sequence[Any], at: str, *, first: int = 0) -> list[dict[str, Any]]:
    """Give the parts; one of a kind that is not known here is passed on as it is.

    >>> parts_of([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}], "content")
    [{'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,iVBO'}}]
    """
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(blocks, first):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise MalformedRequest("A block of content is an object with a `type`.", param=f"{at}[{index}]")
        made = _parts(block, f"{at}[{index}]")
        if made and block.get("cache_control") is not None:
            made[-1] = {**made[-1], "cache_control": block["cache_control"]}
        parts += made
    return parts


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """Give all that is text."""
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")


def _parts(block: dict[str, Any], at: str) -> list[dict[str, Any]]:
    match block["type"]:
        case "text":
            return [_text(block.get("text"), f"{at}.text")]
        case "image":
            return [_image(_source(block, at), at)]
        case "document":
            return _document(block, _source(block, at), at)
        case "search_result":
            head = "\n".join(str(block[name]) for name in ("title", "source") if block.get(name))
            content = block.get("content")
            return [_text(f"{head}\n{text_of(parts_of(content if isinstance(content, list) else [], at))}", at)]
    return [block]


def _text(text: object, at: str) -> dict[str, Any]:
    if not isinstance(text, str):
        raise MalformedRequest("A block of `text` has a `text`.", param=at)
    return {"type": "text", "text": text}


def _image(source: Mapping[str, Any], at: str) -> dict[str, Any]:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "url", "url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "file", "file_id": str(name)}:
            return {"type": "file", "file": {"file_id": name}}
    raise MalformedRequest("The `source` of an image is base64 with `media_type` and `data`, or a url.", param=f"{at}.source")


def _document(block: Mapping[str, Any], source: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    title = block["title"] if isinstance(block.get("title"), str) else ""
    named = [_text(f"{title}\n", at)] if title else []
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return [{"type": "file", "file": {"filename": title or "document.pdf", "file_data": f"data:{kind};base64,{data}"}}]
        case {"type": "text", "data": str(text)}:
            return [*named, _text(text, at)]
        case {"type": "content", "content": str(text)}:
            return [*named, _text(text, at)]
        case {"type": "content", "content": [*blocks]}:
            return [*named, *parts_of(blocks, f"{at}.source.content")]
        case {"type": "url", "url": str(url)}:
            return [{"type": "file", "file": {"filename": title or "document.pdf", "file_data": url}}]
        case {"type": "file", "file_id": str(name)}:
            return [{"type": "file", "file": {"file_id": name}}]
    raise MalformedRequest("The `source` of a document is base64, text, content, url or file.", param=f"{at}.source")


def _source(block: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    source = block.get("source")
    if not isinstance(source, dict):
        raise MalformedRequest(f"A block of `{block['type']}` has a `source`.", param=f"{at}.source")
    return source
