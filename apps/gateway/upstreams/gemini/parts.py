"""What a message holds: OpenAI's parts as Gemini's."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.gateway.upstreams.openai.request import cannot, data_url, part_text, refuse, string

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apps.gateway.upstreams.openai.request import Part

PDF = "application/pdf"
ANY_IMAGE = "image/jpeg"
SOUNDS = {"mp3": "audio/mp3", "wav": "audio/wav"}


def parts_of(content: str | list[Part] | None) -> list[Part]:
    """Give the parts of a message's content.

    >>> parts_of("Hello"), parts_of(None)
    ([{'text': 'Hello'}], [])
    """
    if content is None or isinstance(content, str):
        return [{"text": content}] if content else []
    return [said for part in content if (said := _part(part)) is not None]


def _part(part: Part) -> Part | None:
    kind = part.get("type")
    if kind is None:  # one of Gemini's own, such as `fileData`
        return part
    if not isinstance(kind, str):
        refuse("The `type` of a part is a word.", param="messages")
    if kind not in READERS:
        cannot(f"Gemini does not know parts of type `{kind}`.", param="messages")
    return READERS[kind](part)


def _text(part: Part) -> Part | None:
    text = part_text(part)
    return {"text": text} if text else None


def _image(part: Part) -> Part:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        refuse("A part of type `image_url` needs `image_url.url`.", param="messages")
    return _data(url, otherwise=ANY_IMAGE)


def _file(part: Part) -> Part:
    file = part.get("file")
    if not isinstance(file, dict):
        refuse("A part of type `file` needs `file`.", param="messages")
    named = file.get("format")
    if isinstance(file.get("file_id"), str):
        media_type = named if isinstance(named, str) else _guessed(str(file.get("filename") or file["file_id"])) or PDF
        return {"fileData": {"fileUri": file["file_id"], "mimeType": media_type}}
    data = string({"type": "file", **file}, "file_data")
    if data_url(data) is None and not data.startswith(("http://", "https://", "gs://")):
        return _inline(PDF, data)
    return _data(data, otherwise=PDF)


def _sound(part: Part) -> Part:
    sound = part.get("input_audio")
    if not isinstance(sound, dict) or not isinstance(sound.get("data"), str):
        refuse("A part of type `input_audio` needs `input_audio.data`.", param="messages")
    return _inline(SOUNDS.get(str(sound.get("format")), "audio/wav"), sound["data"])


def _data(url: str, *, otherwise: str) -> Part:
    inline = data_url(url)
    if inline is not None:
        return _inline(*inline)
    return {"fileData": {"fileUri": url, "mimeType": _guessed(url) or otherwise}}


def _inline(media_type: str, data: str) -> Part:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _guessed(name: str) -> str | None:
    try:
        return mimetypes.guess_type(urlsplit(name).path)[0]
    except ValueError:
        refuse("The address of a part is no URL.", param="messages")


READERS: Mapping[str, Callable[[Part], Part | None]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
    "input_audio": _sound,
}


def signature_of(extra: Any) -> str | None:
    """Give the signature that Gemini put on a thought, from where Google's own OpenAI wire keeps it.

    >>> signature_of({"google": {"thought_signature": "abc"}}), signature_of(None)
    ('abc', None)
    """
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def extra_of(signature: Any) -> dict[str, Any] | None:
    """Give the member that carries a signature to the client and back."""
    return {"google": {"thought_signature": signature}} if signature else None
