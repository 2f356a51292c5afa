"""The room as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig


class PromptsConfig(AppConfig):
    """Prompts, their versions and releases."""

    name = "apps.prompts"
    label = "prompts"
