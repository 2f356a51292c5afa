from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from menhir.postgres import partitions
from menhir.postgres.line import Line

TABLE = "realtime_event"
NAMES = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"


@pytest.fixture
async def line():
    line = Line("app")
    yield line
    await line.close()


@pytest.fixture
def behind(superuser: str):
    with psycopg.connect(superuser, autocommit=True) as connection:
        yield connection


def names(behind) -> set[str]:
    return {row[0] for row in behind.execute(NAMES, [TABLE]).fetchall()}


def named(days_from_today: int) -> str:
    return f"{TABLE}_{datetime.now(UTC) + timedelta(days=days_from_today):%Y%m%d}"


async def test_days_are_made_ahead_once(line, behind):
    before = names(behind)
    assert {named(day) for day in (-1, 0, 1)} <= before
    furthest = named(9)
    assert furthest not in before
    made = await partitions.ensure(line, TABLE, days_ahead=9)
    assert made >= 1
    assert furthest in names(behind)
    assert await partitions.ensure(line, TABLE, days_ahead=9) == 0


async def test_days_gone_by_are_dropped_and_no_others(line, behind):
    old = named(-30)
    day = (datetime.now(UTC) - timedelta(days=30)).date()
    behind.execute(f"CREATE TABLE {old} PARTITION OF {TABLE} FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')")
    behind.execute(f"ALTER TABLE {old} OWNER TO menhir_owner")
    before = names(behind)
    assert await partitions.drop_old(line, TABLE) == 1
    assert names(behind) == before - {old}
    assert await partitions.drop_old(line, TABLE) == 0


async def test_only_registered_tables_are_touched(line):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not registered"):
        await partitions.ensure(line, "tenancy_tenant")
    assert await partitions.drop_old(line, "tenancy_tenant") == 0


async def test_the_register_is_closed_to_running_roles(line):
    async with line.connection() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("INSERT INTO menhir.day_partitions VALUES ('tenancy_tenant', 1)")
