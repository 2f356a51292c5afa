"""Upkeep of the ledger and of the limits."""

from __future__ import annotations

from procrastinate.contrib.django import app

from menhir.metering import partitions
from menhir.postgres import sql
from menhir.postgres.line import Line


@app.periodic(cron="7 * * * *", periodic_id="metering.make_partitions")
@app.task(name="metering.make_partitions", queue="upkeep", queueing_lock="metering.make_partitions")
async def make_partitions(timestamp: int) -> None:
    """Make the ledger's partitions of the coming days, and drop those that need no longer be kept."""
    line = Line("gateway")
    try:
        await partitions.make_ahead(line)
        await partitions.drop_old(line)
    finally:
        await line.close()


PRUNE = sql.load("menhir.metering", "prune")


@app.periodic(cron="37 * * * *", periodic_id="metering.prune_limits")
@app.task(name="metering.prune_limits", queue="upkeep", queueing_lock="metering.prune_limits")
async def prune_limits(timestamp: int) -> None:
    """Forget meters and leases that nobody needs any more, some at a time, so that whoever needs the others need not wait."""
    line = Line("gateway")
    try:
        while (row := await line.one(PRUNE)) is not None and row.pruned:
            pass
    finally:
        await line.close()
