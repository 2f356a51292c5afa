"""The chat's addresses: `/t/<tenant>/…`."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from apps.chat.pages import branches, conversations, documents, history

app_name = "chat"

_pages: list[URLPattern] = [
    path("", conversations.new, name="new"),
    path("c/<uuid:conversation>", conversations.show, name="conversation"),
    path("c/<uuid:conversation>/questions", conversations.ask, name="ask"),
    path("c/<uuid:conversation>/answers", branches.regenerate, name="regenerate"),
    path("c/<uuid:conversation>/stop", branches.stop, name="stop"),
    path("c/<uuid:conversation>/branch", branches.choose, name="choose"),
    path("c/<uuid:conversation>/title", history.rename, name="rename"),
    path("c/<uuid:conversation>/delete", history.delete, name="delete"),
    path("c/<uuid:conversation>/restore", history.restore, name="restore"),
    path("conversations", history.search, name="search"),
    path("documents/<uuid:document>", documents.show, name="document"),
]
urlpatterns = [path("t/<slug:tenant>/", include(_pages))]
