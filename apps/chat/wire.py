"""What is said over the socket of a conversation. Small, typed; what does not fit these shapes is refused whole."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from apps.chat.errors import BadRequest, LongQuestion

MESSAGE_LIMIT_BYTES = 256 * 1024


class _Said(msgspec.Struct, tag_field="type", tag=lambda name: name.lower(), forbid_unknown_fields=True):
    """A message of the browser."""


class Ask(_Said):
    """A question below a message; nothing above makes it a first one. Editing a question asks beside it."""

    id: UUID
    text: str
    below: UUID | None = None


class Regenerate(_Said):
    """Another answer beside this one."""

    message: UUID


class Choose(_Said):
    """Show this version."""

    message: UUID


class Stop(_Said):
    """End this run; what came is kept."""

    run: UUID


class Resume(_Said):
    """Tell what comes after event `seq` of a run."""

    run: UUID
    seq: int = 0


Said: TypeAlias = Ask | Regenerate | Choose | Stop | Resume


class _Event(msgspec.Struct, tag_field="type", tag=lambda name: name.lower()):
    """A message of the server."""


class Turn(_Event):
    """Messages that stand below `above` from now on, instead of whatever stood there. `run` writes the last of them."""

    above: UUID | None
    html: str
    run: UUID | None


class Text(_Event):
    """More of an answer: blocks that are finished, from number `first` on, and the one that grows, of which `keep` units stay."""

    run: UUID
    seq: int
    first: int
    blocks: list[str]
    keep: int
    open: str


class Sources(_Event):
    """The passages that an answer is being given."""

    run: UUID
    seq: int
    html: str


class Settled(_Event):
    """The end of an answer. `html` replaces the message as it was streamed, when it is there."""

    run: UUID
    message: UUID
    status: str
    foot: str
    html: str | None = None


class Title(_Event):
    """The conversation's new title."""

    title: str


class Problem(_Event):
    """One plain sentence; nothing has changed."""

    code: str
    message: str


_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def said(text: str | None) -> Said:
    """What a browser says, or BadRequest."""
    if text is None:
        raise BadRequest
    if len(text) > MESSAGE_LIMIT_BYTES:
        raise LongQuestion
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from error


def encoded(event: Any) -> str:
    """A server's message, as it is sent."""
    return msgspec.json.encode(event, enc_hook=_plain).decode()


def _plain(value: Any) -> str:
    """Django's SafeString, as an ordinary one."""
    if not isinstance(value, str):
        raise NotImplementedError
    return "".join([value])  # noqa: FLY002  # formatting would give the SafeString again
