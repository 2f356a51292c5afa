"""The socket's address."""

from __future__ import annotations

from django.urls import path

from apps.chat.consumer import ConversationConsumer

websocket_urlpatterns = [path("ws/t/<slug:tenant>/c/<uuid:conversation>", ConversationConsumer.as_asgi())]
