"""System checks for what Django would pass over in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def migrations_are_packages(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A folder of migrations without `__init__.py` is skipped by Django without a word: its tables would never come."""
    return [
        Error(f"{folder} has no __init__.py, so its migrations would be skipped.", id="menhir.E001")
        for folder in sorted((Path(settings.BASE_DIR) / "migrations").iterdir())
        if folder.is_dir() and folder.name != "__pycache__" and not (folder / "__init__.py").exists()
    ]
