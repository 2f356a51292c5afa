"""Erasing what was deleted long enough ago."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from apps.chat.models import Citation, Conversation, Message


def purge(tenant_id: UUID, conversation_id: UUID, *, kept_for: timedelta) -> None:
    """Erase a conversation with its messages when it has been deleted for `kept_for`; do nothing otherwise."""
    deleted = Conversation.objects.within(tenant_id).filter(id=conversation_id, deleted_at__lte=timezone.now() - kept_for)
    if not deleted.select_for_update().exists():
        return
    # One statement for each table: messages point at each other, and the database looks at the end of each statement.
    messages = Message.objects.within(tenant_id).filter(conversation_id=conversation_id)
    for rows in (Citation.objects.within(tenant_id).filter(message_id__in=messages.values("id")), messages, deleted):
        rows._raw_delete(rows.db)  # noqa: SLF001  # the public way would delete a hundred at a time
