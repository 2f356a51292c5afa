"""`manage.py migrate_all`: what a deployment runs before its processes; safe to run from several at once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from menhir.wiring.migrating import CannotMigrate, migrate


class Command(BaseCommand):
    help = "Create the roles and bring the database up to date, as its owner, under a lock."
    requires_system_checks: list[str] = []  # they may ask for tables that are about to be made
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; a failure leaves with a non-zero exit code."""
        try:
            migrate()
        except CannotMigrate as e:
            raise CommandError(str(e)) from e
        self.stdout.write("The database is up to date.")
