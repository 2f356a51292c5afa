"""What is measured of each job that a worker runs: how it ended, and how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from procrastinate.exceptions import JobAborted
from procrastinate.job_context import JobContext
from procrastinate.worker import Worker

from menhir.telemetry import gauges, meters

ENDED = meters.counter("menhir_jobs_ended_total", "Jobs that ended here, by task and how.", "task", "outcome")
DURATION = meters.histogram("menhir_job_duration_seconds", "How long a job ran.", (*meters.SECONDS, 900.0, 3600.0), "task")

under_way: set[int | None] = set()
"""The ids of the jobs that this process works on."""

gauges.register("menhir_jobs_under_way", "Jobs that this process works on.", lambda: len(under_way))


async def measured(run: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:
    """Run one job; procrastinate calls this around each."""
    job, outcome, began = context.job, "aborted", time.perf_counter()
    under_way.add(job.id)
    try:
        result = await run()
        outcome = "succeeded"
    except (JobAborted, asyncio.CancelledError):
        raise
    except BaseException as error:
        again = worker.app.tasks[job.task_name].get_retry_exception(exception=error, job=job)
        outcome = "retried" if again else "failed"
        raise
    else:
        return result
    finally:
        under_way.discard(job.id)
        ENDED.of(job.task_name, outcome).add()
        DURATION.of(job.task_name).observe(time.perf_counter() - began)
