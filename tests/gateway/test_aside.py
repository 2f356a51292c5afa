"""Rows beside the path of calls: one that cannot be made or written is nobody else's loss, and what waits is bounded in bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from apps.gateway.aside import BATCH_BYTES, AsideWriter


class Table:
    """Takes what is written, or fails as it is told to."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.batches: list[list[str]] = []
        self.away = 0
        self.open = asyncio.Event()
        self.open.set()

    async def make(self, row: str) -> bytes:
        self.made.append(row)
        if row == "slow":
            raise TimeoutError
        if row == "odd":
            raise RecursionError
        return json.dumps(row).encode()

    async def write(self, line: object, rows: bytes) -> None:
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise psycopg.OperationalError("the database is restarting")
        said = json.loads(rows)
        if "refused" in said:
            raise psycopg.DataError("no")
        self.batches.append(said)

    @property
    def rows(self) -> list[str]:
        return [row for batch in self.batches for row in batch]


@pytest.fixture
async def table() -> Table:
    return Table()


@pytest.fixture
async def writer(table) -> AsyncIterator[AsideWriter[str]]:
    made: AsideWriter[str] = AsideWriter(table.make, table.write, name="table", limit=3 * BATCH_BYTES)
    made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("bad", ["slow", "odd", "refused"])
async def test_a_bad_row_is_dropped_and_holds_up_nobody(table, writer, bad):
    for row in ("a", bad, "b"):
        writer.offer(row)
    async with asyncio.timeout(5):
        await writer.written()
    assert table.rows == ["a", "b"]
    assert table.made == ["a", bad, "b"]
    assert writer.dropped == 1


async def test_a_row_is_made_once_however_often_the_database_is_away(table, writer):
    table.away = 2
    writer.offer("a")
    await writer.written()
    assert (table.made, table.rows, writer.dropped) == (["a"], ["a"], 0)


async def test_what_waits_is_bounded_in_bytes_and_so_is_a_batch(table, writer):
    table.open.clear()
    kept = [writer.offer(str(number), size=BATCH_BYTES * 2 // 3) for number in range(6)]
    assert kept == [True] * 4 + [False] * 2
    assert writer.offer("small", size=1)
    table.open.set()
    await writer.written()
    assert table.batches == [["0"], ["1"], ["2"], ["3", "small"]]
    assert writer.dropped == 2
    assert writer.offer("more", size=3 * BATCH_BYTES)
    await writer.written()
    assert table.rows[-1] == "more"
