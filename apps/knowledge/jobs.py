"""Jobs: ingest one document; rescue what a dead worker left behind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import UUID

from django.db import OperationalError
from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.contrib.django import app
from procrastinate.jobs import Job

from apps.knowledge.errors import EmbeddingBusy
from apps.knowledge.models import Document

QUEUE = "knowledge"
TRIES = 9
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2, 240


class Backoff(BaseRetryStrategy):
    """Try again while the embedding model or the database is away: after 2, 4, 8 … 240 seconds, each up to half
    longer, for about twelve minutes.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """When to try again, or None for not at all."""
        if not isinstance(exception, EmbeddingBusy | OperationalError) or job.attempts >= TRIES:
            return None
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**job.attempts)
        return RetryDecision(retry_in={"milliseconds": int(1000 * wait * random.uniform(1, 1.5))})  # noqa: S311 - spreads load, hides nothing


@app.task(name="knowledge.ingest", queue=QUEUE, retry=Backoff(), pass_context=True)
async def ingest(context: JobContext, *, tenant_id: str, document_id: str, edition_id: str) -> None:
    """Read, cut and embed one edition of a document, and let it answer."""
    from apps.knowledge import ingestion

    edition = UUID(tenant_id), UUID(document_id), UUID(edition_id)
    if context.job.attempts > TRIES:
        await ingestion.give_up(*edition)
    else:
        await ingestion.ingest(*edition, last_try=context.job.attempts == TRIES)


@app.periodic(cron="* * * * *")
@app.task(name="knowledge.rescue", queue=QUEUE, queueing_lock="knowledge.rescue", pass_context=False)
async def rescue(timestamp: int) -> None:
    """Give the jobs of dead workers to living ones, and a job to every document that waits without one."""
    from apps.knowledge import rescuing

    await rescuing.rescue()


def defer(documents: Sequence[Document], *, waiting: int) -> None:
    """Queue a job for each document's latest edition, inside the running transaction; `waiting` is how many its tenant has waiting already.

    The lock lets one job at a time work on a document; the lowest priority that is told apart is -10,000.
    """
    if not documents:
        return
    queued = [
        ingest.configure(lock=f"knowledge.document:{document.id}", priority=-min(waiting + place, 10_000)).make_new_job(
            tenant_id=str(document.tenant_id), document_id=str(document.id), edition_id=str(document.latest_edition)
        )
        for place, document in enumerate(documents)
    ]
    app.job_manager.batch_defer_jobs(queued)
