"""How long the gateway keeps what is no part of the ledger."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from apps.gateway.capture import writing
from apps.gateway.guardrails import events
from menhir.postgres import partitions, sql
from menhir.postgres.line import Line

TABLES = (events.TABLE, writing.TABLE)
FORGET_CAPTURES = sql.load("apps.gateway.capture", "forget_captures")


async def keep_days() -> None:
    """Make the partitions of the coming days, drop those that were kept long enough, and delete the texts whose day has come."""
    line = Line("gateway")
    try:
        await line.one(FORGET_CAPTURES)
        for table in TABLES:
            await partitions.ensure(line, table)
            with suppress(psycopg.errors.LockNotAvailable):  # somebody reads it: the next hour will do
                await partitions.drop_old(line, table)
    finally:
        await line.close()
