"""Writes what all runs of this process have to say, in one statement every 50 ms at most.

A first event goes out at once; those that come within the next 50 ms share the next commit. While the database is away everything
is kept and tried again: the statement may be repeated, since it stores an event's number once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from uuid import UUID

import psycopg
import structlog

from menhir.postgres import sql
from menhir.postgres.line import AWAY, Line
from menhir.realtime.run import END, Entry, Run, encoded

FLUSH_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
STATEMENT_SECONDS = 10.0
RUNS_PER_FLUSH = 250
EVENTS_PER_RUN = 200

APPEND = sql.load(__package__, "append")
END_RUN = sql.load(__package__, "end")

log = structlog.get_logger(__name__)
Stored = Callable[[Run, Sequence[Entry], int | None], None]


class Writer:
    """One task that writes for every run of this process. `stored` is told what has been committed, and the last number of an ended run."""

    def __init__(self, *, process_id: UUID, line: Line, stored: Stored) -> None:
        self._process_id, self._line, self._stored = process_id, line, stored
        # In the order in which they had something to say first, so that nobody is passed over.
        self._changed: dict[UUID, Run] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="journal writer")

    def changed(self, run: Run) -> None:
        """A run has something to be written."""
        self._changed[run.id] = run
        self._idle.clear()
        self._wake.set()

    async def stop(self, *, within_seconds: float) -> None:
        """Write what waits, for so long at most."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("journal.not_drained", runs=len(self._changed))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            if not self._changed:
                self._idle.set()
            await self._wake.wait()
            self._wake.clear()
            began = loop.time()
            runs = list(islice(self._changed.values(), RUNS_PER_FLUSH))
            try:
                await self._flush(runs)
                pause = FIRST_PAUSE_SECONDS
            except AWAY as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("journal.away", runs=len(self._changed), error=str(error).strip())
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except Exception:
                log.exception("journal.writer")
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            if self._changed:
                self._wake.set()
            await asyncio.sleep(max(0.0, began + FLUSH_SECONDS - loop.time()))

    async def _flush(self, runs: Sequence[Run]) -> None:
        try:
            await self._append(runs)
        except AWAY:
            raise
        except psycopg.Error:
            if len(runs) > 1:
                # What one run has to say must not silence the others.
                for run in runs:
                    await self._flush([run])
                return
            log.exception("journal.refused", run=str(runs[0].id))
            runs[0].give_up("failed", seq=runs[0].stored)
        for run in runs:
            if run.ending is not None and run.outcome is None and run.stored == run.seq:
                await self._end_or_leave(run)
            if run.stored == run.seq and (run.ending is None or run.outcome is not None):
                self._changed.pop(run.id, None)
            elif run.id in self._changed:
                self._changed[run.id] = self._changed.pop(run.id)

    async def _end_or_leave(self, run: Run) -> None:
        try:
            await self._end(run)
        except AWAY:
            raise
        except psycopg.Error:
            log.exception("journal.refused_end", run=str(run.id))
            run.over(run.ending or "failed")

    async def _append(self, runs: Sequence[Run]) -> None:
        batches = {run.id: (run, entries) for run in runs if (entries := run.waiting(EVENTS_PER_RUN))}
        rows = [(run, entry) for run, entries in batches.values() for entry in entries]
        if not rows:
            return
        async with asyncio.timeout(STATEMENT_SECONDS), self._line.connection() as connection:
            answer = await APPEND.all(
                connection,
                process_id=self._process_id,
                tenants=[run.tenant_id for run, _ in rows],
                runs=[run.id for run, _ in rows],
                days=[run.day for run, _ in rows],
                seqs=[entry.seq for _, entry in rows],
                bodies=[entry.body.decode() for _, entry in rows],
            )
        now = asyncio.get_running_loop().time()
        found = {row.run_id: row.stored_seq for row in answer}
        for run, entries in batches.values():
            if (seq := found.get(run.id)) is None:
                log.warning("journal.fenced", run=str(run.id))
                run.over("interrupted")
                continue
            run.stored_up_to(seq, now=now)
            self._stored(run, [entry for entry in entries if entry.seq <= seq], None)

    async def _end(self, run: Run) -> None:
        async with asyncio.timeout(STATEMENT_SECONDS), self._line.connection() as connection:
            row = await END_RUN.one(
                connection,
                process_id=self._process_id,
                tenant_id=run.tenant_id,
                run_id=run.id,
                day=run.day,
                expected=run.stored,
                outcome=run.ending,
            )
        if row is None or row.outcome is None:
            run.stored_up_to(row.stored_seq if row else 0, now=asyncio.get_running_loop().time())
            return
        self._stored(run, [Entry(row.stored_seq, encoded({"kind": END, "outcome": row.outcome}))], row.stored_seq)
        run.over(row.outcome)
