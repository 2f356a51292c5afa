"""The audit trail, to be read."""

from __future__ import annotations

from django.contrib import admin

from menhir.audit.models import Entry
from menhir.tenancy.admin import ReadOnly


@admin.register(Entry)
class EntryAdmin(ReadOnly):
    """Who did what to which noun in the chosen tenant."""

    list_display = ("at", "actor_name", "verb", "noun", "noun_id")
    list_filter = ("noun",)
    search_fields = ("actor_name", "verb")
    ordering = ("-at",)
