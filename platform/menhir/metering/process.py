"""A living process, and what the living do for the dead.

Each process that opens calls is a row and beats every 5 seconds. One that was silent for 20 has died with its calls unsettled, and
any other settles them as `interrupted`, at their estimate. Who has not himself been heard without a gap for those 20 seconds keeps
still: after a database restart everybody was silent, and the first to come back must not bury the rest.

A sweep goes by a line of its own: it may take minutes where the dead had much to do, and the living must be heard meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import structlog

from menhir.metering import partitions
from menhir.postgres import sql
from menhir.postgres.ids import uuid7
from menhir.postgres.line import AWAY, Line

BEAT_SECONDS = 5.0
BEAT_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 1.0
SILENT_SECONDS = 20.0
SWEEP_TIMEOUT_SECONDS = 600.0
MARGIN = timedelta(minutes=1)
"""How far behind what a process has told the sweep looks for its calls: before one that is dated further back is written, it tells anew."""

BEAT = sql.load(__package__, "beat")
LEAVE = sql.load(__package__, "leave")
SWEEP = sql.load(__package__, "sweep")

log = structlog.get_logger(__name__)


class Process:
    """A process of ours, registered from its first beat to a clean end."""

    def __init__(self, *, oldest_unsettled: Callable[[], datetime | None]) -> None:
        self.id: UUID = uuid7()
        self.label = f"{socket.gethostname()}:{os.getpid()} {Path(sys.argv[0]).name}"
        self._oldest_unsettled = oldest_unsettled
        self._heard_since: float | None = None
        self._told: datetime | None = None
        self._beating = asyncio.Lock()
        self._may_sweep = asyncio.Event()
        self._line = Line("gateway")
        self._sweeping_line = Line("gateway")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the days' partitions and beat for the first time; where the database is away, go on without and try again."""
        try:
            await partitions.make_ahead(self._line)
            await self.beat()
        except (*AWAY, psycopg.Error) as error:
            log.warning("metering.unheard", error=str(error).strip(), kind=type(error).__name__)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._live(), name="metering process"),
            loop.create_task(self._bury(), name="metering sweep"),
        ]

    async def stop(self, *, clean: bool) -> None:
        """Stop beating. With nothing left to settle the row goes, too; else it is left for the sweeper."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sweeping_line.close()
        if clean:
            try:
                await self._line.run(LEAVE, id=self.id)
            except (*AWAY, psycopg.Error) as error:
                log.warning("metering.not_left", error=str(error).strip(), kind=type(error).__name__)
        await self._line.close()

    async def registered(self, *, since: datetime) -> None:
        """Return once a sweep would find calls of this process that are dated `since` or later: for those that are about to be written."""
        if self._told is None or since < self._told - MARGIN:
            await self.beat()

    async def beat(self) -> None:
        """Say that this process is alive, and how far back its unsettled calls reach."""
        async with self._beating:
            now = asyncio.get_running_loop().time()
            oldest = self._oldest_unsettled() or datetime.now(UTC)
            if self._told is not None:
                self._told = max(self._told, oldest)  # should the answer be lost, one of the two is there
            await self._line.run(BEAT, id=self.id, label=self.label, oldest_unsettled=oldest)
            self._told = oldest
            if self._heard_since is None:
                self._heard_since = now

    async def _live(self) -> None:
        pause = BEAT_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(BEAT_TIMEOUT_SECONDS):
                    await self.beat()
                pause = BEAT_SECONDS
                if self._heard_without_gap():
                    self._may_sweep.set()
            except Exception as error:  # noqa: BLE001 - whatever it is: without this task others bury a living process
                self._heard_since = None
                self._may_sweep.clear()
                pause = RETRY_SECONDS
                log.warning("metering.unheard", error=str(error).strip(), kind=type(error).__name__)

    def _heard_without_gap(self) -> bool:
        return self._heard_since is not None and asyncio.get_running_loop().time() - self._heard_since >= SILENT_SECONDS

    async def _bury(self) -> None:
        """Sweep after each beat that was heard, or less often when a sweep takes longer than that."""
        while True:
            await self._may_sweep.wait()
            self._may_sweep.clear()
            try:
                async with asyncio.timeout(SWEEP_TIMEOUT_SECONDS):
                    await sweep(self._sweeping_line)
            except Exception as error:  # noqa: BLE001 - whatever it is: without this task nobody settles for the dead
                log.warning("metering.not_swept", error=str(error).strip(), kind=type(error).__name__)


async def sweep(line: Line, *, silent_seconds: float = SILENT_SECONDS) -> int:
    """Settle the calls of processes silent for so long; how many calls were settled."""
    row = await line.one(SWEEP, silent_seconds=silent_seconds)
    swept = int(row.swept) if row is not None else 0
    if swept:
        log.warning("metering.swept", calls=swept)
    return swept
