from __future__ import annotations

from django.apps import AppConfig


class PostgresConfig(AppConfig):
    name = "menhir.postgres"
    label = "postgres"

    def ready(self) -> None:
        from menhir.postgres import checks  # noqa: F401
