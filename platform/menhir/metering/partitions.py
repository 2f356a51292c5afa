"""The ledger's tables are cut by day of `opened_at` (UTC), and the days are made before they come.

At migration, when a process starts, and every hour by a job: yesterday and the next seven days. Running roles own nothing, so a
SECURITY DEFINER function that belongs to the tables' owner makes them: partitions of these two tables, a year of them at most.

A missing day never loses a call: Postgres refuses the row, the day is made, and the batch is written again (`rows.py`). There is no
DEFAULT partition: what falls into it would keep the day's own partition from being made until somebody moves the rows by hand.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from menhir.metering.line import Line
from menhir.postgres import sql

DAYS_AHEAD = 7

MAKE_PARTITIONS = sql.load(__package__, "make_partitions")


async def make(line: Line, *, first_day: date, last_day: date) -> int:
    """Make the partitions of these days that are missing, in both tables; how many were made."""
    row = await line.one(MAKE_PARTITIONS, first_day=first_day, last_day=last_day)
    return int(row.made)


async def make_ahead(line: Line, *, now: datetime) -> int:
    """Make what is missing from yesterday to seven days ahead; how many partitions were made."""
    today = now.astimezone(UTC).date()
    return await make(line, first_day=today - timedelta(days=1), last_day=today + timedelta(days=DAYS_AHEAD))
