"""Upkeep of what the data plane keeps."""

from __future__ import annotations

from procrastinate.contrib.django import app

from apps.gateway import keeping
from apps.gateway.cache import upkeep


@app.periodic(cron="*/5 * * * *", periodic_id="gateway.evict")
@app.task(name="gateway.evict", queue="upkeep", queueing_lock="gateway.evict")
async def evict(timestamp: int) -> None:
    """Delete answers and idempotency keys whose time is over."""
    await upkeep.evict()


@app.periodic(cron="41 3 * * *", periodic_id="gateway.prune")
@app.task(name="gateway.prune", queue="upkeep", queueing_lock="gateway.prune")
async def prune(timestamp: int) -> None:
    """Delete the oldest vectors of tenants who have too many."""
    await upkeep.prune()


@app.periodic(cron="17 * * * *", periodic_id="gateway.keep_days")
@app.task(name="gateway.keep_days", queue="upkeep", queueing_lock="gateway.keep_days")
async def keep_days(timestamp: int) -> None:
    """Make the coming days' partitions of what is kept beside the ledger, and let go of what was kept long enough."""
    await keeping.keep_days()
