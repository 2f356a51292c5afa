"""Telling the other tabs of a conversation, from a page."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from apps.chat.models import Conversation


def tell_title(conversation: Conversation) -> None:
    """Show the conversation's title in every tab that has it open, once it is committed."""
    event = {"type": "conversation.title"}
    transaction.on_commit(lambda: async_to_sync(get_channel_layer().group_send)(f"chat.{conversation.id}", event))
