"""`manage.py worker`: runs jobs, and comes back from whatever stops procrastinate."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from procrastinate.contrib.django import app as jobs

from menhir.wiring import levels, lifeline, parting  # noqa: F401  # levels are found by a scrape
from menhir.wiring.lifespan import running, state
from menhir.wiring.measuring import measured
from menhir.wiring.observed import CannotListen, observed

log = logging.getLogger("menhir.worker")
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class Command(BaseCommand):
    help = "Run jobs: ingestion, upkeep."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """How many jobs at once."""
        parser.add_argument("--concurrency", type=int, default=4)

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until told to stop; then finish the jobs under way, for 20 seconds at most, and exit with 0."""
        lifeline.watch(grace_seconds=parting.worker_seconds())
        try:
            asyncio.run(work(options["concurrency"]))
        except CannotListen as e:
            raise CommandError(str(e)) from e


async def work(concurrency: int) -> None:
    """Run procrastinate's worker for as long as we live.

    It stops itself on any error of a side task and does not come back after a database restart: so it is started again, each time with a
    fresh connection pool.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _go, stop)
    async with observed(settings.MENHIR_WORKER_METRICS), running():
        if not await _started(stop):
            return
        pause = PAUSE_SECONDS
        while not stop.is_set():
            began = loop.time()
            try:
                await _one_life(concurrency, stop)
            except Exception:
                log.exception("the worker stopped; it is started again")
            pause = PAUSE_SECONDS if loop.time() - began > LONGEST_PAUSE_SECONDS else min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                await asyncio.wait_for(stop.wait(), timeout=pause)
            except TimeoutError:
                continue


def _go(stop: asyncio.Event) -> None:
    if not stop.is_set():
        lifeline.end_within(parting.worker_seconds())
        stop.set()


async def _started(stop: asyncio.Event) -> bool:
    """Wait until there is a database to work on; False when told to stop before."""
    either = [asyncio.create_task(event.wait()) for event in (state.started, stop)]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for task in either:
        task.cancel()
    return not stop.is_set()


async def _one_life(concurrency: int, stop: asyncio.Event) -> None:
    app = jobs.with_connector(jobs.connector.get_worker_connector())  # type: ignore[attr-defined]
    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(
                concurrency=concurrency,
                install_signal_handlers=False,
                fetch_job_polling_interval=2.0,
                shutdown_graceful_timeout=parting.WORKER_GRACE_SECONDS,
                worker_middleware=[measured],
            )
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({worker, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not worker.done():
            worker.cancel()
        try:
            await worker
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
