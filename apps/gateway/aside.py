"""Rows that are worth keeping and never worth waiting for: written in batches, beside the path of calls.

The queue is bounded in bytes. What does not fit any more (the database is away, or slower than the calls) is dropped, counted and
logged, and so is a row that cannot be made or that the database refuses; no call is delayed by it, and no other row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import psycopg
import structlog

from menhir.postgres.line import AWAY, Line

BATCH_ROWS = 100
BATCH_BYTES = 4 * 1024 * 1024
LIMIT_BYTES = 32 * 1024 * 1024
ROW_BYTES = 1_000
"""Of a row that holds nobody's text."""
STATEMENT_TIMEOUT_SECONDS = 10.0
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.1, 2.0
LAST_CHANCE_SECONDS = 3.0

log = structlog.get_logger(__name__)
Row = TypeVar("Row")


class AsideWriter(Generic[Row]):
    """Makes JSON of rows, and hands an array of it to `write` on a connection of its own, as the data plane's role.

    A row is made once; `write` must be safe to repeat.
    """

    def __init__(
        self,
        make: Callable[[Row], Awaitable[bytes]],
        write: Callable[[Line, bytes], Awaitable[None]],
        *,
        name: str,
        limit: int = LIMIT_BYTES,
    ) -> None:
        self._make = make
        self._write = write
        self._name = name
        self._limit = limit
        self._queue: deque[tuple[Row, int]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._unsaid = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to write. Does nothing when that has begun."""
        if self._task is None:
            self._line = Line("gateway")
            self._news = asyncio.Event()
            self._idle = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._name} writer")

    async def stop(self) -> None:
        """Write what waits, for a moment; then stop."""
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_CHANCE_SECONDS):
                await self._emptied()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._queue:
            log.warning("aside.not_drained", table=self._name, rows=len(self._queue))
            self._queue.clear()
            self._bytes = 0
        await self._line.close()

    def offer(self, row: Row, *, size: int = ROW_BYTES) -> bool:
        """Keep a row of about so many bytes, if there is room; whether it was kept."""
        if self._task is None or self._bytes + size > self._limit:
            self.dropped += 1
            self._unsaid += 1
            return False
        self._queue.append((row, size))
        self._bytes += size
        self._news.set()
        return True

    async def written(self) -> None:
        """Return once everything that was offered so far is written."""
        if self._task is not None:
            await self._emptied()

    async def _emptied(self) -> None:
        while self._queue:
            self._idle.clear()
            await self._idle.wait()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                batch, size = self._next()
                made = [row for row in [await self._made(row) for row in batch] if row is not None]
                if made:
                    await self._commit(made)
                for _ in batch:
                    self._queue.popleft()
                self._bytes -= size
            if self._unsaid:
                log.warning("aside.dropped", table=self._name, rows=self._unsaid)
                self._unsaid = 0
            self._idle.set()

    def _next(self) -> tuple[list[Row], int]:
        batch: list[Row] = []
        taken = 0
        for row, size in self._queue:
            if batch and (len(batch) == BATCH_ROWS or taken + size > BATCH_BYTES):
                break
            batch.append(row)
            taken += size
        return batch, taken

    async def _made(self, row: Row) -> bytes | None:
        try:
            return await self._make(row)
        except Exception as error:  # noqa: BLE001 - whatever it is about this row, the next ones are not to wait for it
            self._refuse(error)
            return None

    async def _commit(self, batch: Sequence[bytes]) -> None:
        """Write a batch, again and again while the database is away; a row that it refuses does not take others with it."""
        backoff = FIRST_BACKOFF_SECONDS
        rows = b"[%b]" % b",".join(batch)
        while True:
            try:
                async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS):
                    await self._write(self._line, rows)
            except AWAY as error:
                log.warning("aside.away", table=self._name, rows=len(batch), error=str(error).strip())
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)
            except (psycopg.Error, ValueError) as error:
                if len(batch) == 1:
                    self._refuse(error)
                    return
                for row in batch:
                    await self._commit([row])
                return
            else:
                return

    def _refuse(self, error: Exception) -> None:
        log.warning("aside.refused", table=self._name, error=type(error).__name__)  # never the row: it is somebody's text
        self.dropped += 1
