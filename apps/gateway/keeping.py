"""How long the gateway keeps what is no part of the ledger."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from apps.gateway.guardrails import events
from menhir.postgres import partitions
from menhir.postgres.line import Line

TABLES = (events.TABLE,)


async def keep_days() -> None:
    """Make the partitions of the coming days, and drop those that were kept long enough."""
    line = Line("gateway")
    try:
        for table in TABLES:
            await partitions.ensure(line, table)
            with suppress(psycopg.errors.LockNotAvailable):  # somebody reads it: the next hour will do
                await partitions.drop_old(line, table)
    finally:
        await line.close()
