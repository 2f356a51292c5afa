"""What one client is sent, kept for the next: while it comes, for those who join; afterwards, for those who ask again.

A `Recording` is the far end of a walk through the gateway: it is a `Respond`, and whoever follows it sends what it holds to a client of
his own. Nothing of one caller is in it: the extra member `menhir` and the usage chunk are given by each to his own client.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

import msgspec

from apps.gateway.sse import BOUNDARY, data_of
from apps.gateway.wire import read_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.gateway.call import Call
    from apps.gateway.relay import Headers

KEPT_BYTES: Final = 1024 * 1024
"""A longer answer is passed on and not kept."""
EVENT_STREAM: Final = b"text/event-stream"
NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
OK: Final = 200


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An answer that was complete and without error."""

    stream: bool
    body: bytes
    """The JSON, or every event but the usage chunk and `[DONE]`."""
    usage: bytes
    """The usage chunk of a stream, for whoever asks for it."""
    provider: str
    created: float
    """`time.time()` of its end."""

    @property
    def size(self) -> int:
        """What it takes, about."""
        return len(self.body) + len(self.usage) + OVERHEAD_BYTES


OVERHEAD_BYTES: Final = 400


class Recording:
    """An answer as it comes: its beginning, its parts, its end or what went wrong.

    Followers wait on `bell`, which rings once and is replaced with everything new. They fall behind by `KEPT_BYTES` at most: then `send`
    waits for the slowest, as it would for a slow client.
    """

    def __init__(self, *, most_bytes: int = KEPT_BYTES) -> None:
        self.status = 0
        self.headers: Headers = []
        self.stream = False
        self.usage = b""
        self.ended = False
        self.failure: BaseException | None = None
        self.bell = asyncio.Event()
        self.dropped = 0
        """How many parts are gone from the front: then it is too late to join, and there is nothing to keep."""
        self._parts: list[bytes] = []
        self._bytes = 0
        self._most = most_bytes
        self._seen: dict[object, int] = {}
        self._caught_up = asyncio.Event()

    @property
    def whole(self) -> bool:
        """Whether everything that was said is here, so that one can still join."""
        return not self.dropped

    @property
    def length(self) -> int:
        """How many parts there were."""
        return self.dropped + len(self._parts)

    @property
    def parts(self) -> list[bytes]:
        """Those that are here."""
        return self._parts

    async def start(self, status: int, headers: Headers) -> None:
        """Keep the beginning."""
        self.status = status
        self.headers = headers
        self.stream = any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers)
        self._ring()

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Keep a part."""
        self._parts.append(data)
        self._bytes += len(data)
        self.ended = not more
        self._ring()
        if self._bytes > self._most and more:
            await self._room()

    def fail(self, error: BaseException) -> None:
        """End it with what went wrong."""
        self.failure = error
        self._ring()

    def seen(self, follower: object, number: int) -> None:
        """A follower has passed on so many parts."""
        self._seen[follower] = number
        self._caught_up.set()

    def left(self, follower: object) -> None:
        """A follower has gone."""
        self._seen.pop(follower, None)
        self._caught_up.set()

    def part(self, number: int) -> bytes:
        """One of the parts."""
        return self._parts[number - self.dropped]

    async def _room(self) -> None:
        """Let go of what everybody has seen."""
        while True:
            done = min(self._seen.values(), default=self.length) - self.dropped
            self._bytes -= sum(map(len, self._parts[:done]))
            del self._parts[:done]
            self.dropped += done
            if self._bytes <= self._most or not self._parts:
                return
            self._caught_up.clear()
            await self._caught_up.wait()

    def _ring(self) -> None:
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()


class ChatRecording(Recording):
    """An answer in OpenAI's chat wire; of a stream, the usage chunk stands aside."""

    call: Call | None = None

    @property
    def completed(self) -> bool:
        """Whether it was answered to its end and without error, as far as is known."""
        return self.call is not None and self.call.completed

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Keep a part, and the usage chunk by itself."""
        if self.stream and NO_CHOICES.search(data) is not None:
            data = b"".join(self._without_usage(data))
        await super().send(data, more)

    def keep(self, provider: str) -> Kept | None:
        """What is worth keeping of it; None when it is not all there, or no answer."""
        if self.status != OK or not self.ended or self.dropped or self.failure is not None:
            return None
        parts = self.parts[:-1] if self.stream else self.parts
        body = b"".join(parts)
        if not body or len(body) > KEPT_BYTES:
            return None
        return Kept(stream=self.stream, body=body, usage=self.usage, provider=provider, created=time.time())

    def _without_usage(self, data: bytes) -> Iterator[bytes]:
        for event in events_of(data):
            said = data_of(event)
            if said is not None and NO_CHOICES.search(said) is not None:
                chunk = read_chunk(said)
                if chunk.usage and not chunk.choices:
                    self.usage = event
                    continue
            yield event


def events_of(data: bytes) -> Iterator[bytes]:
    r"""Cut whole events apart.

    >>> list(events_of(b"data: a\n\n: b\n\n"))
    [b'data: a\n\n', b': b\n\n']
    """
    start = 0
    for end in BOUNDARY.finditer(data):
        yield data[start : end.end()]
        start = end.end()
    if start < len(data):
        yield data[start:]
