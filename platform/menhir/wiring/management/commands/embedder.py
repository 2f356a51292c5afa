"""`manage.py embedder`: the local embedding model behind an OpenAI-wire endpoint on loopback."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from menhir.wiring import lifeline
from menhir.wiring.observed import CannotListen, observed


class Command(BaseCommand):
    help = "Serve the local embedding model. Never expose it: it asks nobody who he is."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen; by default where the others look for it."""
        expected = urlsplit(settings.MENHIR_EMBEDDER_URL)
        parser.add_argument("--host", default=expected.hostname or "127.0.0.1")
        parser.add_argument("--port", type=int, default=expected.port or 8090)

    def handle(self, *args: Any, **options: Any) -> None:
        """Load the model and serve."""
        lifeline.watch()
        from apps.gateway.upstreams.embedder.server import serve

        try:
            serve(host=options["host"], port=options["port"], beside=observed(settings.MENHIR_EMBEDDER_METRICS))
        except CannotListen as e:
            raise CommandError(str(e)) from e
