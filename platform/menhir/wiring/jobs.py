"""Procrastinate, wired: jobs are found in each room's `jobs.py` and run by `manage.py worker`. Here is what all of them need."""

from __future__ import annotations

import structlog
from procrastinate import App
from procrastinate.contrib.django import app
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status

from menhir.postgres import pools, sql

QUEUE = "upkeep"
KEPT_HOURS = 72
"""How long finished jobs can be looked up under /staff/; failed ones stay longer, for somebody to see why."""
FAILED_KEPT_HOURS = 30 * 24
DELETE_ENDED_SESSIONS = sql.load(__package__, "delete_ended_sessions")
DELETE_EXPIRED_COUNTERS = sql.load(__package__, "delete_expired_counters")
SILENT_SECONDS = 30.0
MOST_RESCUES = 10

log = structlog.get_logger(__name__)


def on_app_ready(app: App) -> None:
    """Called by procrastinate's Django app when every room's jobs are known."""


@app.periodic(cron="* * * * * 30", periodic_id="upkeep.rescue")
@app.task(name="upkeep.rescue", queue=QUEUE, queueing_lock="upkeep.rescue")
async def rescue(timestamp: int) -> None:
    """Give the jobs of dead workers, of whatever queue, to the living; one that has killed worker after worker is failed."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=SILENT_SECONDS):
        if job.id is None:
            continue
        try:
            if job.attempts >= MOST_RESCUES:
                log.error("job failed: its worker died every time", job_id=job.id, task=job.task_name, attempts=job.attempts)
                await app.job_manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=False)
            else:
                log.warning("job of a dead worker rescued", job_id=job.id, task=job.task_name)
                await app.job_manager.retry_job(job)
        except ProcrastinateException as error:  # another was quicker, or the same is queued again already
            log.info("job not rescued", job_id=job.id, reason=str(error))


@app.periodic(cron="17 * * * *", periodic_id="upkeep.prune")
@app.task(name="upkeep.prune", queue=QUEUE, queueing_lock="upkeep.prune")
async def prune(timestamp: int) -> None:
    """Delete the jobs that ended long ago, and what of people's comings and goings has ended."""
    await app.job_manager.delete_old_jobs(nb_hours=KEPT_HOURS, include_cancelled=True, include_aborted=True)
    await app.job_manager.delete_old_jobs(nb_hours=FAILED_KEPT_HOURS, include_failed=True)
    async with pools.app.connection() as connection:
        for statement in (DELETE_ENDED_SESSIONS, DELETE_EXPIRED_COUNTERS):
            await statement.run(connection)
