"""Upkeep of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from procrastinate.contrib.django import app

from menhir.metering import partitions
from menhir.metering.line import line


@app.periodic(cron="7 * * * *", periodic_id="metering.make_partitions")
@app.task(name="metering.make_partitions", queue="upkeep", queueing_lock="metering.make_partitions")
async def make_partitions(timestamp: int) -> None:
    """Make the ledger's partitions of the coming days."""
    async with line() as own:
        await partitions.make_ahead(own, now=datetime.fromtimestamp(timestamp, tz=UTC))
