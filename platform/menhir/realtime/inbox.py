"""What was rung for, on its way from the table to the mailboxes of this process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog

from menhir.postgres import sql
from menhir.postgres.line import AWAY
from menhir.realtime.desk import Desk

MOST_PER_READ = 500
PAUSE_SECONDS = 0.1

READ = sql.load(__package__, "read_messages")
MISSED = sql.load(__package__, "missed_messages")

log = structlog.get_logger(__name__)
Deliver = Callable[[str, bytes, float], None]


class Rung(NamedTuple):
    """A message that a bell told of, and when."""

    id: UUID
    target: str
    at: float


class Inbox:
    """Reads messages in the order of their bells, many in one query when many have rung, and delivers each once.

    `deliver` is told the target, the body and when (of time.monotonic()) the message was left.
    """

    def __init__(self, *, desk: Callable[[], Desk], targets: Callable[[], list[str]], deliver: Deliver, expiry_seconds: float) -> None:
        self._desk, self._targets, self._deliver, self._expiry_seconds = desk, targets, deliver, expiry_seconds
        self._rung: deque[Rung] = deque()
        self._seen: dict[UUID, float] = {}
        self._deaf = False
        self._reading: asyncio.Task[None] | None = None

    def rung(self, payload: str) -> None:
        """A bell rang for a target of ours, on the listener's event loop."""
        message_id, _, target = payload.partition(" ")
        self._rung.append(Rung(UUID(message_id), target, time.monotonic()))
        self._read_on()

    def was_deaf(self) -> None:
        """The listener is connected anew: look for what it has not heard."""
        self._deaf = True
        self._read_on()

    def clear(self) -> None:
        """Forget what was rung for."""
        self._rung.clear()

    def _read_on(self) -> None:
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            self._reading = loop.create_task(self._read(), name="layer reading")

    async def _read(self) -> None:
        away = False
        while self._deaf or self._rung:
            try:
                if self._deaf:
                    await self._read_missed()
                    self._deaf = False
                await self._read_rung()
                away = False
            except AWAY as error:
                if not away:
                    log.warning("layer.unread", messages=len(self._rung), error=str(error).strip())
                    away = True
                await asyncio.sleep(PAUSE_SECONDS)
            except psycopg.Error:
                log.exception("layer.unreadable")
                self._rung.clear()

    async def _read_missed(self) -> None:
        if targets := self._targets():
            for row in await self._desk().all(MISSED, targets=targets, seconds=self._expiry_seconds):
                self._once(row.id, row.target, bytes(row.body), time.monotonic() - row.age_seconds)

    async def _read_rung(self) -> None:
        batch = [rung for rung, _ in zip(self._rung, range(MOST_PER_READ), strict=False)]
        if not batch:
            return
        found = {row.id: bytes(row.body) for row in await self._desk().all(READ, ids=[rung.id for rung in batch])}
        for rung in batch:
            if self._rung and self._rung[0] is rung:
                self._rung.popleft()
            if (body := found.get(rung.id)) is not None:
                self._once(rung.id, rung.target, body, rung.at)

    def _once(self, message_id: UUID, target: str, body: bytes, at: float) -> None:
        now = time.monotonic()
        while self._seen and next(iter(self._seen.values())) < now - 2 * self._expiry_seconds:
            del self._seen[next(iter(self._seen))]
        if message_id not in self._seen:
            self._seen[message_id] = now
            self._deliver(target, body, at)
