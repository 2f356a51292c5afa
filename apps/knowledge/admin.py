"""Collections and documents, to be looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.knowledge.models import Collection, Document
from menhir.tenancy.admin import ReadOnly


@admin.register(Collection)
class CollectionAdmin(ReadOnly):
    """Collections of the chosen tenant."""

    list_display = ("name", "slug", "language", "embedding_model", "created_at")
    search_fields = ("name", "slug")
    ordering = ("slug",)


@admin.register(Document)
class DocumentAdmin(ReadOnly):
    """How documents stand, without what is in them: that is their readers' affair."""

    list_display = ("title", "collection", "status", "failure", "size", "updated_at")
    list_filter = ("status",)
    search_fields = ("title", "external_id")
    list_select_related = ("collection",)
    ordering = ("-updated_at",)
    exclude = ("text",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without their texts, which may be long."""
        return super().get_queryset(request).defer("text")
