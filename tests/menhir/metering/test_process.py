"""A process that beats, whatever happens, and sweeps without holding its breath."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from menhir.metering import process as module
from menhir.metering.ledger import Ledger
from menhir.metering.process import Process, sweep
from menhir.postgres.ids import uuid7
from menhir.postgres.line import Line

WAITING_SWEEPS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%%metering_sweep%%'"
)


class Beats:
    """Counts the beats of a process, which asks before each for its oldest call."""

    def __init__(self):
        self.news = asyncio.Event()

    def __call__(self):
        self.news.set()

    async def more(self, beats):
        async with asyncio.timeout(20):
            for _ in range(beats):
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def beats():
    return Beats()


@pytest.fixture
async def process(monkeypatch, beats):
    """A process that beats as fast as it can, and may sweep at once."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
    own = Process(oldest_unsettled=beats)
    yield own
    await own.stop(clean=True)


async def looked(look, statement, *values):
    """The first rows that there are."""
    async with asyncio.timeout(20):
        while not (rows := await asyncio.to_thread(look, statement, *values)):
            await asyncio.sleep(0.01)
    return rows


async def test_a_process_that_could_not_beat_beats_again(process, beats, look):
    """Whatever the server had against it: a living process that keeps silent is buried by the others."""
    await process.start()
    (before,) = look("SELECT beat_at FROM metering_process WHERE id = %s", process.id)
    look("REVOKE UPDATE ON metering_process FROM menhir_gateway")
    try:
        await beats.more(3)
        assert process._heard_since is None, "it must not bury others for a silence that was its own"
    finally:
        look("GRANT UPDATE ON metering_process TO menhir_gateway")
    await looked(
        look, "SELECT 1 FROM metering_process WHERE id = %s AND beat_at > %s", process.id, before.beat_at + timedelta(seconds=1e-6)
    )
    await beats.more(2)
    assert process._heard_since is not None


async def test_a_sweep_that_takes_long_is_left_to_finish_and_does_not_silence_its_process(process, beats, look, superuser):
    dead = uuid7()
    look("INSERT INTO metering_process VALUES (%s, '', now(), now() - interval '1 h', now() - interval '1 h')", dead)
    async with await psycopg.AsyncConnection.connect(superuser) as slow:
        await slow.execute("SELECT FROM metering_process WHERE id = %s FOR UPDATE", [dead])
        await process.start()
        sweeping = await looked(look, WAITING_SWEEPS)
        (before,) = look("SELECT now() AS at")
        await beats.more(20)
        await looked(look, "SELECT 1 FROM metering_process WHERE id = %s AND beat_at > %s", process.id, before.at)
        assert look(WAITING_SWEEPS) == sweeping
        assert process._heard_since is not None
    await looked(look, "SELECT 1 WHERE NOT EXISTS (SELECT FROM metering_process WHERE id = %s)", dead)


async def test_a_call_dated_well_before_it_was_opened_is_swept(monkeypatch, acme, look, opening):
    """It came in long ago, and was opened after its process had said that nothing is unsettled."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 3600.0)
    dead = Ledger()
    await dead.start()
    call = opening(acme.id, opened_at=datetime.now(UTC) - timedelta(hours=3), estimate=Decimal("0.5"))
    await dead.open(call)
    look("UPDATE metering_process SET beat_at = now() - interval '21 s' WHERE id = %s", dead.process_id)
    line = Line("gateway")
    await sweep(line)
    await line.close()
    await dead.stop()
    (row,) = look("SELECT outcome, cost FROM metering_settlement WHERE id = %s", call.call_id)
    assert row == ("interrupted", Decimal("0.5"))


async def test_each_of_several_dead_is_settled_for_its_own_calls(acme, look, opening):
    dead = [Ledger(), Ledger()]
    calls = [opening(acme.id, estimate=Decimal(estimate)) for estimate in ("0.25", "0.5")]
    for ledger, call in zip(dead, calls, strict=True):
        await ledger.start()
        await ledger.open(call)
    look("UPDATE metering_process SET beat_at = now() - interval '21 s' WHERE id = ANY(%s)", [ledger.process_id for ledger in dead])
    line = Line("gateway")
    assert await sweep(line) >= 2
    await line.close()
    for ledger in dead:
        await ledger.stop()
    rows = look("SELECT id, cost FROM metering_settlement WHERE tenant_id = %s", acme.id)
    assert set(rows) == {(calls[0].call_id, Decimal("0.25")), (calls[1].call_id, Decimal("0.5"))}
