"""Upkeep of what the data plane keeps."""

from __future__ import annotations

from procrastinate.contrib.django import app

from apps.gateway.cache import upkeep


@app.periodic(cron="*/5 * * * *", periodic_id="gateway.evict")
@app.task(name="gateway.evict", queue="upkeep", queueing_lock="gateway.evict")
async def evict(timestamp: int) -> None:
    """Delete answers and idempotency keys whose time is over."""
    await upkeep.evict()
