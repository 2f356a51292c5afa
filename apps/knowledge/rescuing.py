"""What a dead worker left behind: its jobs go to the living, and a document that waits without a job gets one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from apps.knowledge import jobs
from apps.knowledge.intake import UNDERWAY
from apps.knowledge.models import Document
from menhir.tenancy.transaction import tenant_transaction

DEAD_AFTER_SECONDS = 30.0
FORGOTTEN_AFTER = timedelta(minutes=2)
MOST_AT_ONCE = 500

log = structlog.get_logger(__name__)


async def rescue() -> None:
    """Rescue both kinds."""
    for job in await app.job_manager.get_stalled_jobs(queue=jobs.QUEUE, seconds_since_heartbeat=DEAD_AFTER_SECONDS):
        log.warning("job of a dead worker rescued", job_id=job.id, task=job.task_name)
        await app.job_manager.retry_job(job)
    await asyncio.to_thread(requeue_forgotten)


def requeue_forgotten() -> int:
    """Queue documents whose job is gone, by whatever way; how many there were."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tenant_id, document_id FROM menhir.documents_underway(%s, %s)", [timezone.now() - FORGOTTEN_AFTER, MOST_AT_ONCE]
            )
            underway: list[tuple[UUID, UUID]] = cursor.fetchall()
        return sum(requeue(tenant_id, document_id) for tenant_id, document_id in underway)
    finally:
        connection.close()


def requeue(tenant_id: UUID, document_id: UUID) -> bool:
    """Give a document a job unless one of its latest edition is waiting or running."""
    with tenant_transaction(tenant_id):
        document: Any = (
            Document.objects.within(tenant_id).filter(id=document_id, status__in=UNDERWAY).without_text().select_for_update().first()
        )
        if document is None:
            return False
        alive = ProcrastinateJob.objects.filter(
            task_name=jobs.ingest.name, status__in=["todo", "doing"], args__edition_id=str(document.latest_edition)
        )
        if alive.exists():
            return False
        jobs.defer([document], waiting=0)
        log.warning("document without a job queued again", tenant_id=str(tenant_id), document_id=str(document_id))
        return True
