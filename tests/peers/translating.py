"""A stream in another wire than OpenAI's, through its interpreter and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.sse import EventSplitter, data_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apps.gateway.upstreams.exchange import Interpreter


def translated(stream: Interpreter, pieces: Iterable[bytes]) -> bytes:
    """What a client is sent of these pieces."""
    splitter = EventSplitter()
    said = b"".join(stream.take(data_of(event)) for piece in pieces for event in splitter.feed(piece))
    if splitter.rest:
        said += stream.take(data_of(splitter.rest))
    return said + stream.end()


def chunks(said: bytes) -> list[Any]:
    """What a client reads of that: JSON, and `[DONE]`."""
    splitter = EventSplitter()
    events = [data for event in splitter.feed(said) if (data := data_of(event)) is not None]
    assert not splitter.rest
    return [data.decode() if data == b"[DONE]" else orjson.loads(data) for data in events]
