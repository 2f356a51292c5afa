"""What is to be kept in a table, written in the background: bounded in bytes, in batches, and never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import structlog
from psycopg import AsyncConnection

from menhir.errors import Unavailable
from menhir.postgres import pools
from menhir.postgres.line import AWAY

LIMIT_BYTES: Final = 32 * 1024 * 1024
BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_ROWS: Final = 200
LINGER_SECONDS: Final = 0.05
WITHIN_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)
Row = TypeVar("Row")


class Shelf(Generic[Row]):
    """Rows on their way into a table. What does not fit while the database is slow or away is not kept: all of it can be had again."""

    def __init__(self, write: Callable[[AsyncConnection[Any], Sequence[Row]], Awaitable[None]], *, name: str) -> None:
        self._write = write
        self._name = name
        self._waiting: deque[tuple[Row, int]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def put(self, row: Row, *, size: int) -> None:
        """Have it written before long; returns at once."""
        if self._bytes + size > LIMIT_BYTES:
            return
        self._waiting.append((row, size))
        self._bytes += size
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._run(), name=self._name)

    async def written(self) -> None:
        """Return once everything that waits is written, or given up."""
        while self._task is not None and not self._task.done() and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        await asyncio.sleep(LINGER_SECONDS)
        while batch := self._take():
            try:
                async with asyncio.timeout(WITHIN_SECONDS), pools.gateway.connection() as connection:
                    await self._write(connection, batch)
            except (*AWAY, Unavailable) as error:
                log.warning("cache.not_kept", what=self._name, rows=len(batch), error=str(error).strip())
            except Exception:
                log.exception("cache.not_kept", what=self._name, rows=len(batch))
            await asyncio.sleep(LINGER_SECONDS)

    def _take(self) -> list[Row]:
        batch: list[Row] = []
        taken = 0
        while self._waiting and taken < BATCH_BYTES and len(batch) < BATCH_ROWS:
            row, size = self._waiting.popleft()
            batch.append(row)
            taken += size
        self._bytes -= taken
        return batch
