"""`manage.py rotate_master_key`: a new master key, and everything sealed again with it."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from menhir.wiring import lifeline, rotation

MOST_NAMED = 20


class Command(BaseCommand):
    help = "Put a new master key in front, and seal every stored secret again with it; safe to interrupt and to repeat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether to end it, and what of secrets that nobody can open."""
        parser.add_argument(
            "--forget", action="store_true", help="make no new key: take the older ones out of the file once nothing needs them"
        )
        parser.add_argument("--leave-unreadable", action="store_true", help="go on although some secrets cannot be opened with any key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say what is left."""
        lifeline.watch()
        try:
            with rotation.alone():
                self._check_keys(leave=options["leave_unreadable"])
                if options["forget"]:
                    self._forget()
                else:
                    self._rotate()
        except rotation.CannotRotate as e:
            raise CommandError(str(e)) from e
        except (RuntimeError, psycopg.OperationalError, OperationalError) as e:
            raise CommandError(" ".join(str(e).split())) from e

    def _check_keys(self, *, leave: bool) -> None:
        """Change nothing while the keys we were given may be the wrong ones."""
        unreadable = rotation.survey().unreadable
        for secret in unreadable[:MOST_NAMED]:
            self.stderr.write(str(secret))
        if unreadable and not leave:
            raise CommandError(
                f"{len(unreadable)} of the stored secrets cannot be opened with any of the keys given, and nothing was changed. Give the "
                "keys that sealed them, too; or, where those are lost, set these secrets anew or leave them behind with --leave-unreadable."
            )

    def _rotate(self) -> None:
        if rotation.begin():
            self.stdout.write(f"A new key stands in front of {settings.MENHIR_MASTER_KEYS_FILE}.")
        elif settings.MENHIR_MASTER_KEYS_FILE is None:
            self.stdout.write("MENHIR_MASTER_KEYS gives the keys: sealing again with the first of them.")
        else:
            self.stdout.write("An earlier rotation has put a new key in front: going on with it.")
        done = sum(rotation.proceed())
        rows = rotation.survey()
        self.stdout.write(
            f"Sealed again: {done}. Left with an older key: {rows.left}. Cannot be opened with any key: {len(rows.unreadable)}."
        )
        if rows.left:
            raise CommandError("Some secrets are still sealed with an older key: run this again.")
        self.stdout.write("Nothing needs an older key any more: take them away, in the environment or with --forget.")

    def _forget(self) -> None:
        if settings.MENHIR_MASTER_KEYS_FILE is None:
            raise CommandError("MENHIR_MASTER_KEYS gives the keys: take the older ones out there.")
        if not rotation.forget():
            raise CommandError("Some secrets are still sealed with an older key: run this without --forget first.")
        self.stdout.write("The older keys are gone. Backups of the database that were made before need them: keep a copy with those.")
