"""Levels of what `web` and `worker` hold, as a scrape of `/metrics` finds them: pools, bells, limits, breakers, jobs that wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from apps.gateway import health
from menhir.errors import Unavailable
from menhir.metering.limits import limits
from menhir.postgres import pools, sql
from menhir.postgres.listener import listener
from menhir.telemetry import gauges
from menhir.wiring import metrics
from menhir.wiring.lifespan import state

JOBS_PATIENCE_SECONDS: Final = 1.0
COUNT_JOBS: Final = sql.load(__package__, "count_jobs")

jobs: dict[tuple[str, ...], float] = {}
"""As the last scrape counted them."""

POOL_STATES: Final = {"pool_size": "open", "pool_available": "free", "requests_waiting": "waited_for"}


def _pools() -> dict[tuple[str, ...], float]:
    return {
        (pool.role, word): pool.stats[name]
        for pool in (pools.app, pools.gateway)
        for name, word in POOL_STATES.items()
        if name in pool.stats
    }


def _breakers() -> dict[tuple[str, ...], float]:
    states = Counter(seen.breaker for seen in health.breakers())
    return {("open",): states["open"], ("half_open",): states["half_open"]}


def _leases() -> dict[tuple[str, ...], float]:
    """Added up over all limits: whose they are is not for here."""
    found: dict[tuple[str, ...], float] = {}
    for metric, free, busy in limits.levels():
        found[metric, "free"] = found.get((metric, "free"), 0.0) + float(free)
        found[metric, "busy"] = found.get((metric, "busy"), 0.0) + float(busy)
    return found


async def _look_at_jobs() -> None:
    """Count the jobs for the scrape that follows; while the database is away, nothing is said of them."""
    jobs.clear()
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(JOBS_PATIENCE_SECONDS), pools.app.connection() as connection:
            jobs.update(((row.queue, row.status), row.jobs) for row in await COUNT_JOBS.all(connection))


gauges.register("menhir_ready", "Whether this process takes calls.", lambda: state.accepting)
gauges.register("menhir_listener_connected", "Whether a bell rung in the database is heard here.", lambda: listener.connected)
gauges.register("menhir_pool_connections", "Connections of the async plane, by role.", _pools, labels=("role", "state"))
gauges.register("menhir_breakers", "Targets that are not asked, or asked by one call to see.", _breakers, labels=("state",))
gauges.register("menhir_lease_level", "What this process holds of limits, by metric.", _leases, labels=("metric", "state"))
gauges.register("menhir_jobs", "Jobs that wait or are being worked on, by queue.", lambda: dict(jobs), labels=("queue", "status"))
metrics.looks.append(_look_at_jobs)
