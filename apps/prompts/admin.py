"""Prompts, to be read; they are written in the console, where every text becomes a version."""

from __future__ import annotations

from django.contrib import admin

from apps.prompts.models import Prompt, Release, Version
from menhir.tenancy.admin import ReadOnly


@admin.register(Prompt)
class PromptAdmin(ReadOnly):
    """Prompts of the chosen tenant."""

    list_display = ("slug", "name", "created_by", "created_at", "archived_at")
    search_fields = ("slug", "name")
    ordering = ("slug",)


@admin.register(Version)
class VersionAdmin(ReadOnly):
    """Their texts."""

    list_display = ("prompt", "number", "note", "created_by", "created_at")
    search_fields = ("prompt__slug", "note")
    list_select_related = ("prompt",)
    ordering = ("-created_at",)


@admin.register(Release)
class ReleaseAdmin(ReadOnly):
    """What is served."""

    list_display = ("prompt", "label", "version", "released_by", "released_at")
    search_fields = ("prompt__slug",)
    list_select_related = ("prompt", "version")
    ordering = ("-released_at",)
