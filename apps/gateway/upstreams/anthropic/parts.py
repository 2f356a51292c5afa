"""What a message holds: OpenAI's parts as Anthropic's content blocks."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from apps.gateway.upstreams.openai.request import cannot, data_url, part_text, refuse, string

if TYPE_CHECKING:
    from apps.gateway.upstreams.openai.request import Part

Block = dict[str, Any]

PDF = "application/pdf"


def blocks_of(content: str | list[Part] | None, *, cache_control: Part | None = None) -> list[Block]:
    """Give the blocks of a message's content; empty texts, which Anthropic refuses, are left out.

    A `cache_control` stays on the part it was written on; that of a whole message goes to its last block.

    >>> blocks_of([{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}])
    [{'type': 'text', 'text': 'Hello', 'cache_control': {'type': 'ephemeral'}}]
    """
    if content is None or isinstance(content, str):
        blocks: list[Block] = [{"type": "text", "text": content}] if content else []
    else:
        blocks = [block for part in content if (block := _block(part)) is not None]
    if cache_control is not None and blocks:
        blocks[-1] = {**blocks[-1], "cache_control": cache_control}
    return blocks


def _block(part: Part) -> Block | None:
    block: Block | None
    match part.get("type"):
        case "text" | "refusal":
            text = part_text(part)
            block = {"type": "text", "text": text} if text else None
        case "image_url":
            block = {"type": "image", "source": _image(part)}
        case "file":
            block = _file(part)
        case "input_audio":
            cannot("Claude does not hear: `input_audio` cannot be sent to it.", param="messages")
        case str():  # one of Anthropic's own, such as `document` or `search_result`
            return part
        case _:
            refuse("A part of a message needs a `type`.", param="messages")
    if block is not None and part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _image(part: Part) -> Block:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        refuse("A part of type `image_url` needs `image_url.url`.", param="messages")
    inline = data_url(url)
    return {"type": "url", "url": url} if inline is None else _base64(*inline)


def _file(part: Part) -> Block:
    file = part.get("file")
    if not isinstance(file, dict):
        refuse("A part of type `file` needs `file`.", param="messages")
    if isinstance(file.get("file_id"), str):
        return _titled({"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}, file)
    data = string({"type": "file", **file}, "file_data")
    inline = data_url(data)
    if inline is None:
        if data.startswith(("https://", "http://")):
            return _titled({"type": "document", "source": {"type": "url", "url": data}}, file)
        return _titled({"type": "document", "source": _base64(PDF, data)}, file)
    media_type, encoded = inline
    if media_type.startswith("image/"):
        return {"type": "image", "source": _base64(media_type, encoded)}
    if media_type.startswith("text/"):
        return _titled({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": _decoded(encoded)}}, file)
    return _titled({"type": "document", "source": _base64(media_type, encoded)}, file)


def _titled(block: Block, file: Part) -> Block:
    return {**block, "title": file["filename"]} if isinstance(file.get("filename"), str) else block


def _base64(media_type: str, data: str) -> Block:
    return {"type": "base64", "media_type": media_type, "data": data}


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:  # no ASCII, no base64, no UTF-8
        refuse("`file_data` is not text in base64.", param="messages")
