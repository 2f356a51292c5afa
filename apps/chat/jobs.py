"""Deleted conversations go for good after a while."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from procrastinate.contrib.django import app

from apps.chat.purge import purge
from menhir.tenancy.transaction import tenant_transaction

KEPT_AFTER_DELETION = timedelta(days=30)


@app.task(queue="chat", name="chat.purge_conversation")
def purge_conversation(*, tenant_id: str, conversation_id: str) -> None:
    """Erase one conversation, unless it was restored or deleted anew in the meantime."""
    with tenant_transaction(UUID(tenant_id)):
        purge(UUID(tenant_id), UUID(conversation_id), kept_for=KEPT_AFTER_DELETION)
