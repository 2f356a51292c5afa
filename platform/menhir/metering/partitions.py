"""The days of the ledger: both tables are cut by day of `opened_at` (UTC), and the days are made before they come.

At migration, when a process starts, and every hour by a job: yesterday and the next seven days (`menhir.postgres.partitions` says how a
role that owns nothing can). Should a day be missing all the same, no call is lost: Postgres refuses the row, the days are made, and the
batch is written again (`rows.py`). A ledger is kept for a hundred years, unless the operator says otherwise
(`MENHIR_LEDGER_KEEP_DAYS`); what is older is dropped by the same job, a day at a time.
"""

from __future__ import annotations

from menhir.postgres import partitions
from menhir.postgres.line import Line

TABLES = ("metering_call", "metering_settlement")
DAYS_AHEAD = 7


async def make_ahead(line: Line) -> int:
    """Make what is missing from yesterday to seven days ahead; how many partitions were made."""
    return sum([await partitions.ensure(line, table, days_ahead=DAYS_AHEAD) for table in TABLES])


async def drop_old(line: Line) -> int:
    """Drop the days that need no longer be kept; how many partitions were dropped."""
    return sum([await partitions.drop_old(line, table) for table in TABLES])
