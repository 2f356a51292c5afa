"""`manage.py prepare`: migrations, then the first tenant where there is none. `up` runs it before the roles."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from menhir.wiring import lifeline
from menhir.wiring.migrating import CannotMigrate, migrate
from menhir.wiring.provisioning import first_tenant


class Command(BaseCommand):
    help = "Migrate, and create the first tenant of a fresh installation."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare; safe to repeat, after an interruption too, and to run from several processes."""
        lifeline.watch()
        try:
            migrate()
        except CannotMigrate as e:
            raise CommandError(str(e)) from e
        first_tenant()
