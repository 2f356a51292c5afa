"""The database, from a task: one tenant transaction in one hop to a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID

from channels.db import database_sync_to_async

from menhir.tenancy.transaction import tenant_transaction

T = TypeVar("T")


async def in_tenant(tenant_id: UUID, work: Callable[[], T]) -> T:
    """Run `work` in a transaction of this tenant and give back what it gives."""
    return cast("T", await database_sync_to_async(_within, thread_sensitive=False)(tenant_id, work))


def _within(tenant_id: UUID, work: Callable[[], Any]) -> Any:
    with tenant_transaction(tenant_id):
        return work()
