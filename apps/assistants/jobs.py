"""Upkeep of the stored responses."""

from __future__ import annotations

from procrastinate.contrib.django import app

from apps.assistants import responses
from menhir.postgres.line import Line


@app.periodic(cron="11 * * * *", periodic_id="assistants.keep_house")
@app.task(name="assistants.keep_house", queue="upkeep", queueing_lock="assistants.keep_house")
async def keep_house(timestamp: int) -> None:
    """Make the partitions of the coming days, and drop those of days that are kept no longer."""
    line = Line("gateway")
    try:
        await responses.keep_house(line)
    finally:
        await line.close()
