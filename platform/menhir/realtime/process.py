"""A living process: it beats, hears who asked its runs to stop, ends the runs of the dead, and keeps the house.

A process beats every 2 seconds. One that was silent for 10 has died with its runs open, and any other ends them as interrupted, so that
their followers know within 13 seconds. Who has himself been without the database keeps still for those 10 seconds: everybody was
silent then, and the first to come back must not bury the rest.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime
from uuid import UUID

import psycopg
import structlog

from menhir.postgres import partitions, sql
from menhir.postgres.line import AWAY, Line

EVENTS = "realtime_event"
BEAT_SECONDS = 2.0
RETRY_SECONDS = 0.5
SILENT_SECONDS = 10.0
STATEMENT_SECONDS = 5.0

BEAT = sql.load(__package__, "beat")
LEAVE = sql.load(__package__, "leave")
PRUNE = sql.load(__package__, "prune")
SWEEP = sql.load(__package__, "sweep")

log = structlog.get_logger(__name__)


class Process:
    """The present process as the others see it. `asked_to_stop` is told the runs that somebody wants stopped."""

    def __init__(self, process_id: UUID, *, asked_to_stop: Callable[[Iterable[UUID]], None]) -> None:
        self.id = process_id
        self.label = f"{socket.gethostname()}:{os.getpid()}"
        self._asked_to_stop = asked_to_stop
        self._line = Line("app")
        self._registered = False
        self._may_sweep_from = 0.0
        self._kept_house_on: date | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beat for the first time; where the database is away, go on without and try again."""
        with suppress(*AWAY):
            await self.registered()
            await self._keep_house()
        self._task = asyncio.get_running_loop().create_task(self._live(), name="journal process")

    async def stop(self, *, clean: bool) -> None:
        """Beat no more. With every run ended the process is forgotten; else it is left to be found dead."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if clean:
            with suppress(*AWAY):
                async with asyncio.timeout(STATEMENT_SECONDS):
                    await self._line.run(LEAVE, process_id=self.id)
        await self._line.close()

    async def registered(self) -> None:
        """Return once others know of this process: a run that begins earlier would be taken for a dead one's."""
        if not self._registered:
            await self._beat()

    async def _live(self) -> None:
        pause = BEAT_SECONDS
        while True:
            # Jitter, so that the processes of an installation do not sweep all at once.
            await asyncio.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311
            try:
                await self._beat()
                if asyncio.get_running_loop().time() >= self._may_sweep_from:
                    await self.sweep()
                await self._keep_house()
                pause = BEAT_SECONDS
            except (*AWAY, psycopg.Error) as error:
                if pause == BEAT_SECONDS:
                    log.warning("journal.unheard", error=str(error).strip())
                self._may_sweep_from = asyncio.get_running_loop().time() + SILENT_SECONDS
                pause = RETRY_SECONDS

    async def _beat(self) -> None:
        async with asyncio.timeout(STATEMENT_SECONDS), self._line.connection() as connection:
            rows = await BEAT.all(connection, process_id=self.id, label=self.label)
        self._registered = True
        self._asked_to_stop(row.run_id for row in rows)

    async def sweep(self, *, silent_seconds: float = SILENT_SECONDS) -> int:
        """End the runs of processes that were silent for so long; how many were ended."""
        async with asyncio.timeout(STATEMENT_SECONDS):
            row = await self._line.one(SWEEP, silent_seconds=silent_seconds)
        swept = int(row.swept) if row else 0
        if swept:
            log.warning("journal.swept", runs=swept)
        return swept

    async def _keep_house(self) -> None:
        """Once a day: make the coming days' partitions, drop the old ones and what belonged to them."""
        today = datetime.now(UTC).date()
        if today == self._kept_house_on:
            return
        await partitions.ensure(self._line, EVENTS)
        self._kept_house_on = today
        with suppress(psycopg.errors.LockNotAvailable):
            await partitions.drop_old(self._line, EVENTS)
        while (row := await self._line.one(PRUNE)) is not None and row.pruned:
            pass
