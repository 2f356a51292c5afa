"""`manage.py rotate_master_key`: a new master key, and everything sealed again with it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from menhir.wiring import lifeline, rotation


class Command(BaseCommand):
    help = "Put a new master key in front, and seal every stored secret again with it; safe to interrupt and to repeat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether to end it."""
        parser.add_argument(
            "--forget", action="store_true", help="make no new key: take the older ones out of the file once nothing needs them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say what is left."""
        lifeline.watch()
        if options["forget"]:
            self._forget()
            return
        if rotation.begin():
            self.stdout.write(f"A new key stands in front of {settings.MENHIR_MASTER_KEYS_FILE}.")
        elif settings.MENHIR_MASTER_KEYS_FILE is None:
            self.stdout.write("MENHIR_MASTER_KEYS gives the keys: sealing again with the first of them.")
        else:
            self.stdout.write("An earlier rotation is not through: going on with its key.")
        done = sum(rotation.proceed())
        rows = rotation.survey()
        self.stdout.write(f"Sealed again: {done}. Left with an older key: {rows.left}. Cannot be opened by any key: {rows.lost}.")
        if rows.left:
            raise CommandError("Some secrets are still sealed with an older key: run this again.")

    def _forget(self) -> None:
        if settings.MENHIR_MASTER_KEYS_FILE is None:
            raise CommandError("MENHIR_MASTER_KEYS gives the keys: take the older ones out there.")
        if not rotation.forget():
            raise CommandError("Some secrets are still sealed with an older key: run this without --forget first.")
        self.stdout.write("The older keys are gone. Backups of the database that were made before need them: keep a copy with those.")
