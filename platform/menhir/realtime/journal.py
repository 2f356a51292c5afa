"""The stream journal: begin a run here, follow it anywhere.

    run = await journal.begin(tenant_id, "conversation:…")
    await run.append({"kind": "text", "text": "Hello"})
    await run.end("completed")

    async for seq, event in journal.follow(tenant_id, run_id, after=last_seen):
        ...

Every run's last event is `{"kind": "end", "outcome": "completed" | "failed" | "stopped" | "interrupted"}`. A process that dies leaves
its runs to be ended as interrupted by any other, within 13 seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from menhir.errors import Invalid, Unavailable
from menhir.postgres import notify, pools, sql
from menhir.postgres.ids import uuid7
from menhir.postgres.line import AWAY, Line
from menhir.postgres.listener import Listener, listener
from menhir.realtime import bells
from menhir.realtime.errors import NoSuchRun
from menhir.realtime.hub import FIND, Hub
from menhir.realtime.process import Process
from menhir.realtime.run import Entry, Outcome, Run
from menhir.realtime.writer import Writer

__all__ = ["Journal", "Outcome", "Run", "Snapshot", "journal"]

MOST_TOPIC_CHARACTERS = 200
DRAIN_SECONDS = 5.0

BEGIN = sql.load(__package__, "begin")
LIVE = sql.load(__package__, "live")
REQUEST_STOP = sql.load(__package__, "request_stop")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was written of a run at one moment: its events with their numbers, and how it ended if it had."""

    events: Sequence[tuple[int, dict[str, Any]]]
    outcome: Outcome | None


class Journal:
    """A process's way into the journal; wiring starts and stops it, after the pools and the listener."""

    def __init__(self, bells_heard_by: Listener) -> None:
        self._listener = bells_heard_by
        self._runs: dict[UUID, Run] = {}
        self._lines: tuple[Line, ...] = ()
        self._process: Process | None = None

    async def start(self) -> None:
        """Start on the running event loop. A second start does nothing; where the database is away, it is tried again until it is there."""
        if self._process is not None:
            return
        writing, reading = self._lines = (Line("app"), Line("app"))
        self._hub = Hub(line=reading, listener=self._listener)
        self._process = Process(uuid7(), asked_to_stop=self._asked_to_stop)
        self._writer = Writer(process_id=self._process.id, line=writing, stored=self._stored)
        self._leave: Callable[[], None] = self._listener.subscribe(bells.STOP, self._stop_rung)
        await self._process.start()

    async def stop(self) -> None:
        """End what is still being written, as interrupted, and leave; followers in this process get Unavailable."""
        process, self._process = self._process, None
        if process is None:
            return
        self._leave()
        for run in list(self._runs.values()):
            run.finish("interrupted")
        await self._writer.stop(within_seconds=DRAIN_SECONDS)
        await process.stop(clean=not self._runs)
        await self._hub.stop()
        for line in self._lines:
            await line.close()
        self._runs.clear()

    async def begin(self, tenant_id: UUID, topic: str) -> Run:
        """Begin a run about `topic` (1 to 200 characters); return once it is written down and others may follow it.

        Raises Unavailable when the database is away.
        """
        if not 0 < len(topic) <= MOST_TOPIC_CHARACTERS:
            raise Invalid(f"A topic has 1 to {MOST_TOPIC_CHARACTERS} characters.", param="topic")
        process = self._here()
        now = datetime.now(UTC)
        run = Run(tenant_id=tenant_id, run_id=uuid7(), topic=topic, day=now.date(), changed=self._writer.changed, ended=self._ended)
        try:
            await process.registered()
        except AWAY as e:
            raise Unavailable from e
        async with pools.app.tenant(tenant_id) as connection:
            await BEGIN.run(connection, tenant_id=tenant_id, run_id=run.id, topic=topic, process_id=process.id, day=run.day, started_at=now)
        self._runs[run.id] = run
        return run

    async def follow(self, tenant_id: UUID, run_id: UUID, after: int = 0) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        """Give each event after `after` with its number, those already written at once and the others as they come, to the end.

        Restarts of the database and of the producer's process are waited out. Events are shared with other followers: do not change
        them. Raises NoSuchRun when there is none in this tenant, and Unavailable when the database is away at the beginning.
        """
        self._here()
        seq = after
        async with self._hub.following(tenant_id, run_id) as tail:
            while not tail.over(seq):
                if tail.closed:
                    raise Unavailable("The stream journal of this process is closing.")
                heard = tail.after(seq)
                if not heard and tail.behind(seq):
                    heard = await self._hub.read(tail, seq)
                    if not heard and tail.last_seq is not None:
                        return  # it ended so long ago that its events are gone
                elif not heard:
                    await tail.news()
                for one in heard:
                    yield one.seq, one.event
                    seq = one.seq

    async def so_far(self, tenant_id: UUID, run_id: UUID) -> Snapshot:
        """Give what is written of a run by now, without waiting for more.

        Raises NoSuchRun when there is none in this tenant, and Unavailable when the database is away.
        """
        async with pools.app.tenant(tenant_id) as connection:
            run = await FIND.one(connection, tenant_id=tenant_id, run_id=run_id)
        if run is None:
            raise NoSuchRun
        events: list[tuple[int, dict[str, Any]]] = []
        if run.stored_seq:
            async with aclosing(self.follow(tenant_id, run_id)) as following:
                async for seq, event in following:
                    events.append((seq, event))
                    if seq >= run.stored_seq:
                        break
        return Snapshot(events, run.outcome)

    async def request_stop(self, tenant_id: UUID, run_id: UUID) -> None:
        """Ask whoever writes a run to stop; of a run that has ended this asks nothing.

        Raises NoSuchRun when there is none in this tenant.
        """
        async with pools.app.tenant(tenant_id) as connection:
            if await REQUEST_STOP.run(connection, tenant_id=tenant_id, run_id=run_id, at=datetime.now(UTC)):
                await notify.send(connection, bells.STOP, str(run_id))
            elif await FIND.one(connection, tenant_id=tenant_id, run_id=run_id) is None:
                raise NoSuchRun

    async def live(self, tenant_id: UUID, topic: str) -> list[UUID]:
        """The runs about a topic that are being written, the newest first."""
        async with pools.app.tenant(tenant_id) as connection:
            return [row.run_id for row in await LIVE.all(connection, tenant_id=tenant_id, topic=topic)]

    def _here(self) -> Process:
        if self._process is None:
            raise Unavailable("The stream journal of this process is not open.")
        return self._process

    def _stored(self, run: Run, entries: Sequence[Entry], last_seq: int | None) -> None:
        self._hub.heard(run.id, entries, last_seq=last_seq)

    def _ended(self, run: Run) -> None:
        self._runs.pop(run.id, None)

    def _stop_rung(self, payload: str) -> None:
        self._asked_to_stop([UUID(payload)])

    def _asked_to_stop(self, run_ids: Iterable[UUID]) -> None:
        for run_id in run_ids:
            if (run := self._runs.get(run_id)) is not None:
                run.stop_requested.set()


journal = Journal(listener)
