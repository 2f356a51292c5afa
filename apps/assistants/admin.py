"""Assistants, to be looked at."""

from __future__ import annotations

from django.contrib import admin

from apps.assistants.models import Assistant
from menhir.tenancy.admin import ReadOnly


@admin.register(Assistant)
class AssistantAdmin(ReadOnly):
    """What answers under one name in the chosen tenant."""

    list_display = ("slug", "name", "prompt", "label", "route_name", "passages_limit")
    search_fields = ("slug", "name")
    list_select_related = ("prompt",)
    ordering = ("slug",)
