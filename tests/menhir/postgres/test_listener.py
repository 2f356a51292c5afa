from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from menhir.postgres import roles
from menhir.postgres.listener import ANSWER_WITHIN_SECONDS, PROBE_EVERY_SECONDS, Listener

from peers.wire import Wire, wire_to

KILL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = 'menhir-listener' AND datname = current_database()
"""
LAST_COMMAND = "SELECT query FROM pg_stat_activity WHERE application_name = 'menhir-listener' AND datname = current_database()"


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with wire_to(roles.conninfo("app"), tmp_path) as wire:
        yield wire


@asynccontextmanager
async def listening(conninfo: Callable[[], str] = lambda: roles.conninfo("app")) -> AsyncIterator[Listener]:
    listener = Listener(conninfo)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


@pytest.fixture
async def app() -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    async with await psycopg.AsyncConnection.connect(roles.conninfo("app"), autocommit=True) as connection:
        yield connection


async def test_hears_what_was_subscribed_before_and_after_the_start(app):
    bells: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    listener = Listener(lambda: roles.conninfo("app"))
    listener.subscribe("early", lambda payload: bells.put_nowait(("early", payload)))
    await listener.start()
    listener.subscribe("Late one", lambda payload: bells.put_nowait(("late", payload)))
    assert not listener.connected
    assert await listener.ready()
    assert listener.connected

    await app.execute("NOTIFY early, '1'")
    await app.execute("""NOTIFY "Late one", 'zwölf' """)

    assert await asyncio.wait_for(bells.get(), 5) == ("early", "1")
    assert await asyncio.wait_for(bells.get(), 5) == ("late", "zwölf")
    await listener.stop()
    assert not listener.connected


async def test_a_failing_callback_takes_nobody_with_it(app):
    bells: asyncio.Queue[str] = asyncio.Queue()

    def fail(payload: str) -> None:
        raise LookupError(payload)

    async with listening() as listener:
        listener.subscribe("bell", fail)
        listener.subscribe("bell", bells.put_nowait)
        await listener.ready()
        for payload in ("1", "2"):
            await app.execute("SELECT pg_notify('bell', %s)", [payload])
            assert await asyncio.wait_for(bells.get(), 5) == payload


async def test_the_last_who_leaves_turns_the_channel_off(app):
    bells: asyncio.Queue[str] = asyncio.Queue()
    async with listening() as listener:
        leave_first = listener.subscribe("bell", bells.put_nowait)
        leave_second = listener.subscribe("bell", bells.put_nowait)
        await listener.ready()
        leave_first()
        leave_first()  # leaving twice does nothing
        await app.execute("NOTIFY bell, 'still here'")
        assert await asyncio.wait_for(bells.get(), 5) == "still here"

        leave_second()
        listener.subscribe("other", bells.put_nowait)
        await listener.ready()
        await app.execute("NOTIFY bell, 'nobody'")
        await app.execute("NOTIFY other, 'somebody'")
        assert await asyncio.wait_for(bells.get(), 5) == "somebody"
        row = await (await app.execute(LAST_COMMAND)).fetchone()
        assert row == ('UNLISTEN "bell"',)


async def test_comes_back_after_its_connection_was_killed(app):
    bells: asyncio.Queue[str] = asyncio.Queue()
    connections: asyncio.Queue[bool] = asyncio.Queue()
    listener = Listener(lambda: roles.conninfo("app"))
    listener.subscribe("bell", bells.put_nowait)
    listener.on_reconnect(lambda: connections.put_nowait(listener.connected))
    await listener.start()
    assert connections.get_nowait()

    for _ in range(3):
        assert await (await app.execute(KILL)).fetchone() == (1,)
        assert await asyncio.wait_for(connections.get(), 5)
        await app.execute("NOTIFY bell, 'again'")
        assert await asyncio.wait_for(bells.get(), 5) == "again"
    await listener.stop()


async def test_notices_a_connection_that_died_in_silence(wire, app):
    connections: asyncio.Queue[None] = asyncio.Queue()
    bells: asyncio.Queue[str] = asyncio.Queue()
    async with listening(lambda: wire.conninfo) as listener:
        listener.subscribe("bell", bells.put_nowait)
        listener.on_reconnect(lambda: connections.put_nowait(None))
        assert await listener.ready()
        wire.flows.clear()
        async with asyncio.timeout(PROBE_EVERY_SECONDS + ANSWER_WITHIN_SECONDS + 1):
            while listener.connected:
                await asyncio.sleep(0.02)
        wire.flows.set()
        await asyncio.wait_for(connections.get(), 10)
        await app.execute("NOTIFY bell, 'after'")
        assert await asyncio.wait_for(bells.get(), 5) == "after"


async def test_starts_without_a_database_and_says_so():
    async with listening(lambda: "host=/nowhere dbname=none") as listener:
        assert not listener.connected
        listener.subscribe("bell", print)
        assert not await listener.ready(within_seconds=0.05)


def test_starts_and_stops_on_one_event_loop_after_another():
    bells: list[str] = []
    listener = Listener(lambda: roles.conninfo("app"))
    listener.subscribe("bell", bells.append)

    async def hear(payload: str) -> None:
        rung = asyncio.Event()
        leave = listener.subscribe("bell", lambda _: rung.set())
        await listener.start()
        await listener.start()  # a second start does nothing
        async with await psycopg.AsyncConnection.connect(roles.conninfo("app"), autocommit=True) as connection:
            await connection.execute("SELECT pg_notify('bell', %s)", [payload])
        await asyncio.wait_for(rung.wait(), 5)
        leave()
        if payload != "never stopped":
            await listener.stop()

    for payload in ("one", "two", "never stopped", "three"):
        asyncio.run(hear(payload))
    assert bells == ["one", "two", "never stopped", "three"]


def test_refuses_names_that_postgres_would_cut():
    listener = Listener(lambda: roles.conninfo("app"))
    for name in ("", "é" * 32):
        with pytest.raises(ValueError, match="1 to 63 bytes"):
            listener.subscribe(name, print)
