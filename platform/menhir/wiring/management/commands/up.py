"""`manage.py up`: everything on one machine, supervised."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from menhir.wiring.supervisor import CannotStart, up


class Command(BaseCommand):
    help = "Start the embedded database, migrate, create the first tenant, and run web, worker and embedder."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C."""
        try:
            sys.exit(up())
        except CannotStart as e:
            raise CommandError(str(e)) from e
