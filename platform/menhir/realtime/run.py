"""A run as its producer holds it: it numbers the events, and holds back whoever is faster than the disk for too long."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date
from itertools import islice
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, get_args
from uuid import UUID

import orjson
import structlog

from menhir.errors import Invalid, Unavailable
from menhir.realtime.errors import EventTooLarge, RunOver

Outcome = Literal["completed", "failed", "stopped", "interrupted"]

END = "end"
MOST_EVENT_BYTES = 256 * 1024
MOST_WAITING_EVENTS = 4_000
MOST_WAITING_BYTES = 2 * 1024 * 1024
PATIENCE_SECONDS = 60.0
KEPT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Entry(NamedTuple):
    """An event as it is stored."""

    seq: int
    body: bytes


class Run:
    """One stream, written by this process. As a context manager it ends itself: completed, failed, or interrupted when cancelled."""

    def __init__(
        self, *, tenant_id: UUID, run_id: UUID, topic: str, day: date, changed: Callable[[Run], None], ended: Callable[[Run], None]
    ) -> None:
        self.tenant_id, self.id, self.topic, self.day = tenant_id, run_id, topic, day
        self.seq = 0
        self.stored = 0
        self.outcome: Outcome | None = None
        self.ending: Outcome | None = None
        self.stop_requested = asyncio.Event()
        self._changed, self._over = changed, ended
        self._ended = asyncio.Event()
        self._room = asyncio.Event()
        self._waiting_bytes = 0
        self._entries: deque[Entry] = deque()
        self._marks: deque[tuple[float, int]] = deque()

    async def append(self, event: Mapping[str, Any]) -> int:
        """Take an event to be written within 50 ms; its number. Waits only while too many wait to be written.

        `kind` may be anything but `end`. Raises RunOver after the end (whoever ended it), Invalid for what is no JSON, EventTooLarge,
        and Unavailable when the database stays away for a minute with the buffer full.
        """
        if event.get("kind") == END:
            raise Invalid("The kind `end` is the journal's own; call end().", param="kind")
        body = encoded(event)
        if len(body) > MOST_EVENT_BYTES:
            raise EventTooLarge(f"An event has at most {MOST_EVENT_BYTES} bytes; this one has {len(body)}.")
        if self._full:
            await self._wait_for_room()
        if self.ending is not None or self.outcome is not None:
            raise RunOver
        self.seq += 1
        self._entries.append(Entry(self.seq, body))
        self._waiting_bytes += len(body)
        self._changed(self)
        return self.seq

    async def end(self, outcome: Outcome) -> Outcome:
        """Write what waits and then the end, durably; how the run has ended, which is not `outcome` when somebody was first.

        Raises Unavailable after a minute without a database; the end is still written should it come back.
        """
        if outcome not in get_args(Outcome):
            raise Invalid(f"A run ends as one of {', '.join(get_args(Outcome))}.", param="outcome")
        self.finish(outcome)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._ended.wait()
        except TimeoutError as e:
            raise Unavailable("The stream journal cannot be written at the moment.") from e
        return self.outcome or outcome

    def finish(self, outcome: Outcome) -> None:
        """Have the end written without waiting for it."""
        if self.outcome is None and self.ending is None:
            self.ending = outcome
            self._changed(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self.end("stopped" if self.stop_requested.is_set() else "completed")
        else:
            await self.end("failed" if isinstance(error, Exception) else "interrupted")

    # What follows is the writer's side.

    def waiting(self, most: int) -> list[Entry]:
        """The next entries to be stored."""
        if self.stored >= self.seq:
            return []
        first = self.stored + 1 - self._entries[0].seq
        return list(islice(self._entries, first, first + most))

    def stored_up_to(self, seq: int, *, now: float) -> None:
        """Take note of what the database has. Less than it had means that a crash made it forget: that is sent again."""
        if seq < self.stored:
            log.warning("journal.rewound", run=str(self.id), stored=self.stored, found=seq)
            if not self._entries or self._entries[0].seq > seq + 1:
                self.give_up("interrupted", seq=seq)
                return
            self._marks.clear()
        self._waiting_bytes += self._bytes_up_to(self.stored) - self._bytes_up_to(seq)
        self.stored = seq
        self._marks.append((now, seq))
        while self._marks and self._marks[0][0] < now - KEPT_SECONDS:
            _, old = self._marks.popleft()
            while self._entries and self._entries[0].seq <= old:
                self._entries.popleft()
        if not self._full:
            self._room.set()

    def give_up(self, outcome: Outcome, *, seq: int) -> None:
        """Keep what is stored and end there: the rest cannot be written."""
        self.seq = self.stored = seq
        self.ending = outcome
        self._release()
        self._changed(self)

    def over(self, outcome: Outcome) -> None:
        """The run has ended, by us or by others: whoever waits goes on, whoever writes is told to stop."""
        self.outcome = outcome
        self.stored = self.seq
        self._release()
        self._ended.set()
        self._over(self)

    def _release(self) -> None:
        self._entries.clear()
        self._marks.clear()
        self._waiting_bytes = 0
        self._room.set()
        self.stop_requested.set()

    def _bytes_up_to(self, seq: int) -> int:
        return sum(len(entry.body) for entry in self._entries if entry.seq <= seq)

    @property
    def _full(self) -> bool:
        return self.seq - self.stored >= MOST_WAITING_EVENTS or self._waiting_bytes >= MOST_WAITING_BYTES

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._full:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError as e:
            raise Unavailable("The stream journal cannot be written at the moment.") from e


def encoded(event: Mapping[str, Any]) -> bytes:
    r"""The event as JSON; half a surrogate pair, which models do send, becomes `?`.

    >>> encoded({"text": "a\ud83d"})
    b'{"text": "a?"}'
    """
    try:
        return orjson.dumps(event)
    except TypeError:
        pass
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as e:
        raise Invalid(f"An event is JSON: {e}.") from e
