"""Calls that no upstream was asked for: opened and settled in one row's time, after the fact, with nobody waiting.

An answer out of a cache costs no money and holds nothing, so nothing is lost to anybody when its note is: a process that is killed takes
the notes of its last tenth of a second with it. What an upstream saw goes through `Ledger.open` and `Ledger.settle`, never through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from menhir.metering.entries import Operation
from menhir.metering.writer import REFUSED

LINGER_SECONDS = 0.05
"""Notes gather for so long: each statement costs as much as thirty of them."""
PAUSE_SECONDS = 1.0
STATEMENT_TIMEOUT_SECONDS = 10.0
BATCH_ROWS = 1_000
MOST_KEPT = 100_000
"""More are not remembered while the database is away; how many were dropped goes into the log."""

log = structlog.get_logger(__name__)


class Note(msgspec.Struct, frozen=True, gc=False, rename={"call_id": "id"}):
    """A call that was answered without an upstream, and as JSON both its rows."""

    tenant_id: UUID
    call_id: UUID
    opened_at: datetime
    settled_at: datetime
    operation: Operation
    model: str
    route: str
    api_key_id: UUID | None
    user_id: UUID | None
    assistant_id: UUID | None
    prompt_version_id: UUID | None
    stream: bool
    upstream_model: str
    latency_ms: int
    unit: str | None = None
    """Whose call it is among the callers of one key."""


class Notes:
    """Writes notes with `write`, which must be safe to repeat, a moment after they came."""

    def __init__(self, write: Callable[[Sequence[Note]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[Note] = []
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def put(self, note: Note) -> None:
        """Have it written; returns at once."""
        if len(self._waiting) >= MOST_KEPT:
            self._dropped += 1
            return
        self._waiting.append(note)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="metering notes")

    async def written(self) -> None:
        """Return once everything that waits is written."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self, *, within_seconds: float) -> None:
        """Write what waits, for so long at most."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(within_seconds):
                while self._waiting:
                    await self._flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest still has to be closed
            log.warning("ledger.notes_lost", notes=len(self._waiting), error=str(error).strip(), kind=type(error).__name__)
        self._waiting.clear()

    async def _run(self) -> None:
        pause = LINGER_SECONDS
        while self._waiting:
            await asyncio.sleep(pause)
            try:
                await self._flush()
                pause = LINGER_SECONDS
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not about the notes
                log.warning("ledger.away", table="notes", rows=len(self._waiting), error=str(error).strip(), kind=type(error).__name__)
                pause = PAUSE_SECONDS

    async def _flush(self, most: int = BATCH_ROWS) -> None:
        """Write the first that wait, and forget them. Several that are refused go by halves, until the one to blame is alone."""
        batch = self._waiting[:most]
        try:
            async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS):
                await self._write(batch)
        except REFUSED:
            if len(batch) > 1:
                half = len(batch) // 2
                await self._flush(half)
                await self._flush(len(batch) - half)
                return
            # Kept, it would be refused again, and hold up the others for ever.
            log.exception("ledger.refused", table="notes", row=repr(batch[0]))
        del self._waiting[: len(batch)]
        if self._dropped:
            log.warning("ledger.notes_dropped", notes=self._dropped)
            self._dropped = 0
