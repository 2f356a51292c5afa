"""The room as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig


class AssistantsConfig(AppConfig):
    """Assistants and the front door."""

    name = "apps.assistants"
    label = "assistants"
