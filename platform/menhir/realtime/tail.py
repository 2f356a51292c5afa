"""The newest events of a run that somebody in this process follows. All its followers read the same few hundred."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import date
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import orjson

MOST_EVENTS = 400
MOST_BYTES = 512 * 1024


class Heard(NamedTuple):
    """An event that was read once for everybody."""

    seq: int
    event: dict[str, Any]
    size: int


class Tail:
    """A follower holds nothing but the number it has come to. Who is slower than the tail is long reads the rest from the journal."""

    def __init__(self, *, tenant_id: UUID, run_id: UUID, day: date, head: int, last_seq: int | None) -> None:
        self.tenant_id, self.run_id, self.day = tenant_id, run_id, day
        self.head = head
        self.last_seq = last_seq
        self.followers = 0
        self.closed = False
        self._events: deque[Heard] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def take(self, rows: Iterable[tuple[int, str | bytes]], *, last_seq: int | None = None) -> None:
        """Take events that follow the head; what is known already, or leaves a gap, is passed over."""
        before = (self.head, self.last_seq)
        for seq, body in rows:
            if seq == self.head + 1:
                self._events.append(Heard(seq, orjson.loads(body), len(body)))
                self._bytes += len(body)
                self.head = seq
        while len(self._events) > MOST_EVENTS or self._bytes > MOST_BYTES:
            self._bytes -= self._events.popleft().size
        if last_seq is not None:
            self.last_seq = last_seq
        if before != (self.head, self.last_seq):
            self._ring()

    def close(self) -> None:
        """Nothing comes any more: let nobody wait for it."""
        self.closed = True
        self._ring()

    def after(self, seq: int) -> list[Heard]:
        """The events after `seq`, when they are all here."""
        if not self._events or seq >= self.head or seq + 1 < self._events[0].seq:
            return []
        return list(islice(self._events, seq + 1 - self._events[0].seq, None))

    def over(self, seq: int) -> bool:
        """Whether the run has ended and nothing comes after `seq`."""
        return self.last_seq is not None and seq >= self.last_seq

    def behind(self, seq: int) -> bool:
        """Whether there is more after `seq`."""
        return seq < (self.head if self.last_seq is None else self.last_seq)

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Wait until there is something new."""
        await self._news.wait()
