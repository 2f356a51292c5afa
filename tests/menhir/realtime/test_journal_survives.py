"""What happens to streams when a process dies, a connection breaks, the database goes away, or a bell is not heard."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from menhir.postgres import pools, roles
from menhir.postgres.listener import Listener
from menhir.realtime.errors import RunOver
from menhir.realtime.journal import Journal
from menhir.realtime.run import MOST_WAITING_EVENTS


class Reader:
    """Follows a run, and tells how far it has come."""

    def __init__(self, journal: Journal, tenant_id: UUID, run_id: UUID, after: int = 0) -> None:
        self.heard: list[tuple[int, dict]] = []
        self.more = asyncio.Condition()
        self.task = asyncio.create_task(self.read(journal, tenant_id, run_id, after))

    async def read(self, journal: Journal, tenant_id: UUID, run_id: UUID, after: int) -> list[tuple[int, dict]]:
        async for one in journal.follow(tenant_id, run_id, after):
            async with self.more:
                self.heard.append(one)
                self.more.notify_all()
        return self.heard

    async def has(self, count: int, *, within: float = 20) -> None:
        async with asyncio.timeout(within), self.more:
            await self.more.wait_for(lambda: len(self.heard) >= count)

    async def to_the_end(self, *, within: float = 20) -> list[tuple[int, dict]]:
        return await asyncio.wait_for(self.task, within)


def is_whole(heard: list[tuple[int, dict]], outcome: str) -> bool:
    """Numbered from one without a gap, every word in its place, and one end."""
    words = [(seq, {"kind": "text", "text": f"word {seq}"}) for seq in range(1, len(heard))]
    return heard == [*words, (len(heard), {"kind": "end", "outcome": outcome})]


async def write(run, count: int, *, every: float = 0.002) -> None:
    for _ in range(count):
        await run.append({"kind": "text", "text": f"word {run.seq + 1}"})
        await asyncio.sleep(every)


@pytest.mark.slow
async def test_a_killed_producer_leaves_an_interrupted_stream(journal, tenant_id, start):
    producer = await start("producer.py", tenant_id)
    run_id = UUID((await producer.says("run"))[0])
    reader = Reader(journal, tenant_id, run_id)
    await reader.has(50)
    await producer.die()
    died = time.monotonic()
    heard = await reader.to_the_end(within=16)
    assert time.monotonic() - died < 15
    assert is_whole(heard, "interrupted")

    late = Reader(journal, tenant_id, run_id, after=20)
    assert await late.to_the_end(within=1) == heard[20:]
    assert await journal.live(tenant_id, "conversation:1") == []


@pytest.mark.slow
async def test_a_stream_of_another_process_can_be_stopped(journal, tenant_id, start):
    producer = await start("producer.py", tenant_id)
    run_id = UUID((await producer.says("run"))[0])
    reader = Reader(journal, tenant_id, run_id)
    await reader.has(10)
    asked = time.monotonic()
    await journal.request_stop(tenant_id, run_id)
    assert is_whole(await reader.to_the_end(), "stopped")
    assert time.monotonic() - asked < 1
    assert await producer.process.wait() == 0


async def test_streams_go_on_when_every_connection_is_cut_again_and_again(journal, other_journal, tenant_id, cut):
    run = await journal.begin(tenant_id, "conversation:1")
    readers = [Reader(source, tenant_id, run.id) for source in (journal, other_journal)]
    for _ in range(4):
        await write(run, 100)
        await cut()
    await write(run, 100)
    await run.end("completed")
    for reader in readers:
        assert is_whole(await reader.to_the_end(), "completed")


async def test_streams_wait_for_a_database_that_is_away(journal, other_journal, tenant_id, behind, cut):
    run = await journal.begin(tenant_id, "conversation:1")
    readers = [Reader(source, tenant_id, run.id) for source in (journal, other_journal)]
    await write(run, 50)
    async with away(behind, cut):
        await write(run, 300)
        await asyncio.sleep(1.5)  # long enough for every connection to be tried, and refused
    ending = asyncio.create_task(run.end("completed"))
    for reader in readers:
        assert is_whole(await reader.to_the_end(), "completed")
    assert await ending == "completed"


async def test_who_writes_faster_than_an_absent_database_is_held_back(journal, tenant_id, behind, cut):
    run = await journal.begin(tenant_id, "conversation:1")
    async with away(behind, cut):
        # Begun before, it may have stored so much by now that there is nothing left to hold back.
        writing = asyncio.create_task(write(run, MOST_WAITING_EVENTS + 100, every=0))
        async with asyncio.timeout(20):
            while run.seq - run.stored < MOST_WAITING_EVENTS:
                await asyncio.sleep(0.01)
        for _ in range(100):
            await asyncio.sleep(0)
        assert run.seq - run.stored == MOST_WAITING_EVENTS
        assert not writing.done()
    reader = Reader(journal, tenant_id, run.id)
    await writing
    await run.end("completed")
    heard = await reader.to_the_end()
    assert len(heard) == MOST_WAITING_EVENTS + 101
    assert is_whole(heard, "completed")


@asynccontextmanager
async def away(behind, cut) -> AsyncIterator[None]:
    """The database refuses connections and has cut the present ones."""
    allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    name = sql.Identifier(behind.info.dbname)
    # Nobody may do that to the database he is in.
    async with await psycopg.AsyncConnection.connect(os.environ["MENHIR_TEST_SUPERUSER"], autocommit=True) as outside:
        await outside.execute(allow.format(name, sql.SQL("false")))
        await cut()
        try:
            yield
        finally:
            await outside.execute(allow.format(name, sql.SQL("true")))


async def test_lost_bells_are_made_up_for(journal, tenant_id):
    deaf = Listener(lambda: roles.conninfo("app"))
    deaf_journal = Journal(deaf)
    await deaf_journal.start()
    theirs = await deaf_journal.begin(tenant_id, "conversation:2")
    ours = await journal.begin(tenant_id, "conversation:1")
    reader = Reader(deaf_journal, tenant_id, ours.id)
    await write(ours, 10)
    await reader.has(10, within=3)
    await ours.end("completed")
    assert is_whole(await reader.to_the_end(within=3), "completed")

    await journal.request_stop(tenant_id, theirs.id)
    await asyncio.wait_for(theirs.stop_requested.wait(), 5)
    await deaf_journal.stop()
    assert is_whole(await Reader(journal, tenant_id, theirs.id).to_the_end(), "interrupted")


async def test_what_a_crash_of_the_server_forgot_is_written_again(journal, other_journal, tenant_id, behind):
    run = await journal.begin(tenant_id, "conversation:1")
    await write(run, 100)
    reader = Reader(other_journal, tenant_id, run.id)
    await reader.has(100)
    await behind.execute("DELETE FROM realtime_event WHERE run_id = %s AND seq > 60", [run.id])
    await write(run, 20)
    await run.end("completed")
    assert is_whole(await reader.to_the_end(), "completed")
    again = await Reader(other_journal, tenant_id, run.id).to_the_end()
    assert len(again) == 121
    assert is_whole(again, "completed")


async def test_who_was_taken_for_dead_may_not_write_on(journal, other_journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    await write(run, 10)
    reader = Reader(other_journal, tenant_id, run.id)
    await reader.has(10)
    await other_journal._process.sweep(silent_seconds=0)
    heard = await reader.to_the_end()
    assert is_whole(heard, "interrupted")

    with pytest.raises(RunOver):
        await write(run, 200)
    assert run.stop_requested.is_set()
    assert await run.end("completed") == "interrupted"
    assert await Reader(journal, tenant_id, run.id).to_the_end() == heard


async def test_a_stopping_process_ends_its_streams(pool, other_journal, tenant_id):
    listener = Listener(lambda: roles.conninfo("app"))
    await listener.start()
    leaving = Journal(listener)
    await leaving.start()
    run = await leaving.begin(tenant_id, "conversation:1")
    reader = Reader(other_journal, tenant_id, run.id)
    await write(run, 10)
    await leaving.stop()
    assert is_whole(await reader.to_the_end(), "interrupted")
    await listener.stop()


async def test_row_security_guards_the_tables_and_their_partitions(journal, tenant_id, other_tenant_id, behind):
    run = await journal.begin(tenant_id, "conversation:1")
    await run.append({"kind": "text", "text": "secret"})
    await run.end("completed")
    for tenant, seen in ((tenant_id, 2), (other_tenant_id, 0)):
        async with pools.app.tenant(tenant) as connection:
            row = await (await connection.execute("SELECT count(*) FROM realtime_event WHERE run_id = %s", [run.id])).fetchone()
            assert row[0] == seen
    cursor = await behind.execute(
        """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, has_table_privilege('menhir_app', c.oid, 'SELECT')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'realtime_event'::regclass"""
    )
    partitions = await cursor.fetchall()
    assert len(partitions) >= 4
    assert {row[1:] for row in partitions} == {(True, True, False)}
