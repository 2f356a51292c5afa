"""Everything that anybody in this process follows: one query fetches the news of all their runs, and memory hands it round.

A bell says which run has news. A slow tick asks about those that have been quiet, since a bell may be lost; so does every new connection
of the listener.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog

from menhir.postgres import pools, sql
from menhir.postgres.line import AWAY, Line
from menhir.postgres.listener import Listener
from menhir.realtime import bells
from menhir.realtime.errors import NoSuchRun
from menhir.realtime.run import Entry
from menhir.realtime.tail import Heard, Tail

TICK_SECONDS = 1.0
PAGE = 200
STATEMENT_SECONDS = 10.0
LISTEN_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

FIND = sql.load(__package__, "find")
NEWS = sql.load(__package__, "news")

log = structlog.get_logger(__name__)


class Hub:
    """One task that reads for every follower in this process."""

    def __init__(self, *, line: Line, listener: Listener) -> None:
        self._line, self._listener = line, listener
        self._tails: dict[UUID, Tail] = {}
        self._pending: dict[UUID, Tail] = {}
        self._wake = asyncio.Event()
        self._shards: dict[str, int] = defaultdict(int)
        self._leave: dict[str, Callable[[], None]] = {}
        self._leave_reconnect = listener.on_reconnect(self._look_at_all)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="journal hub")

    async def stop(self) -> None:
        """Read no more."""
        self._leave_reconnect()
        for leave in self._leave.values():
            leave()
        self._leave.clear()
        for tail in self._tails.values():
            tail.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def following(self, tenant_id: UUID, run_id: UUID) -> AsyncIterator[Tail]:
        """The tail of a run of this tenant, kept up to date inside the block; raises NoSuchRun for anybody else's."""
        shard = bells.of_run(run_id)
        self._enter(shard)
        try:
            # LISTEN first, then the snapshot: what is written between the two rings.
            await self._listener.ready(within_seconds=LISTEN_SECONDS)
            async with pools.app.tenant(tenant_id) as connection:
                run = await FIND.one(connection, tenant_id=tenant_id, run_id=run_id)
            if run is None:
                raise NoSuchRun
            tail = self._tails.get(run_id)
            if tail is None:
                tail = Tail(tenant_id=tenant_id, run_id=run_id, day=run.day, head=run.stored_seq, last_seq=run.last_seq)
                self._tails[run_id] = tail
                # A bell may have rung before we knew whose it was.
                self._look_at(tail)
            tail.followers += 1
            try:
                yield tail
            finally:
                tail.followers -= 1
                if not tail.followers:
                    self._tails.pop(run_id, None)
        finally:
            self._exit(shard)

    async def read(self, tail: Tail, after: int) -> list[Heard]:
        """A page of the journal, for a follower who is further back than the tail reaches; waits for the database as long as it takes."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                rows = await self._news_of([(tail, after)])
            except AWAY as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("journal.unread", run=str(tail.run_id), error=str(error).strip())
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            page = [(row.seq, row.body) for row in rows if row.seq is not None]
            tail.take(page, last_seq=rows[0].last_seq if rows else None)
            if not page and tail.last_seq is None:
                # The tail knows more than the journal: a crash made the server forget what the producer sends again right now.
                await asyncio.sleep(pause)
            return [Heard(seq, orjson.loads(body), len(body)) for seq, body in page]

    def heard(self, run_id: UUID, entries: Sequence[Entry], *, last_seq: int | None = None) -> None:
        """Take what this process itself has just stored: its own followers need no query."""
        if (tail := self._tails.get(run_id)) is not None:
            tail.take(entries, last_seq=last_seq)

    def _enter(self, shard: str) -> None:
        self._shards[shard] += 1
        if self._shards[shard] == 1:
            self._leave[shard] = self._listener.subscribe(shard, self._rung)

    def _exit(self, shard: str) -> None:
        self._shards[shard] -= 1
        if not self._shards[shard] and (leave := self._leave.pop(shard, None)):
            leave()

    def _rung(self, payload: str) -> None:
        run_id, _, seq = payload.partition(" ")
        tail = self._tails.get(UUID(run_id))
        if tail is not None and int(seq) > tail.head:
            self._look_at(tail)

    def _look_at(self, tail: Tail) -> None:
        self._pending[tail.run_id] = tail
        self._wake.set()

    def _look_at_all(self) -> None:
        self._pending.update(self._tails)
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        tick = loop.time() + TICK_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(tick):
                    await self._wake.wait()
            if loop.time() >= tick:
                tick = loop.time() + TICK_SECONDS
                self._pending.update({run_id: tail for run_id, tail in self._tails.items() if not tail.over(tail.head)})
            self._wake.clear()
            asked = [tail for tail in self._pending.values() if tail.followers]
            self._pending.clear()
            if not asked:
                continue
            try:
                await self._catch_up(asked)
                pause = FIRST_PAUSE_SECONDS
            except (*AWAY, psycopg.Error) as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("journal.unread", runs=len(asked), error=str(error).strip())
                for tail in asked:
                    self._look_at(tail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _catch_up(self, tails: Sequence[Tail]) -> None:
        rows = await self._news_of([(tail, tail.head) for tail in tails])
        news: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
        ends: dict[UUID, int] = {}
        for row in rows:
            if row.seq is not None:
                news[row.run_id].append((row.seq, row.body))
            if row.last_seq is not None:
                ends[row.run_id] = row.last_seq
        for tail in tails:
            tail.take(news[tail.run_id], last_seq=ends.get(tail.run_id))
            if len(news[tail.run_id]) == PAGE:
                self._look_at(tail)

    async def _news_of(self, asked: Sequence[tuple[Tail, int]]) -> list[Any]:
        async with asyncio.timeout(STATEMENT_SECONDS):
            return await self._line.all(
                NEWS,
                tenants=[tail.tenant_id for tail, _ in asked],
                runs=[tail.run_id for tail, _ in asked],
                days=[tail.day for tail, _ in asked],
                afters=[after for _, after in asked],
                page=PAGE,
            )
