"""Upkeep of the ledger."""

from __future__ import annotations

from procrastinate.contrib.django import app

from menhir.metering import partitions
from menhir.postgres.line import Line


@app.periodic(cron="7 * * * *", periodic_id="metering.make_partitions")
@app.task(name="metering.make_partitions", queue="upkeep", queueing_lock="metering.make_partitions")
async def make_partitions(timestamp: int) -> None:
    """Make the ledger's partitions of the coming days."""
    line = Line("gateway")
    try:
        await partitions.make_ahead(line)
    finally:
        await line.close()
