"""`manage.py web`: the ASGI server of both planes."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from menhir.wiring import lifeline, parting
from menhir.wiring.serving import Server, listening


class Command(BaseCommand):
    help = "Serve the data plane, the pages and the sockets."
    requires_system_checks: list[str] = []  # `migrate_all` ran them; a server starts at once

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until told to stop; then finish what is under way, for `MENHIR_GRACE_SECONDS` at most, and exit with 0: see `serving`."""
        lifeline.watch(grace_seconds=parting.web_seconds())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _finished)  # uvicorn puts its own in their place, and afterwards sends itself what it had heard
        config = uvicorn.Config(
            "menhir.wiring.asgi:application",
            host=options["host"],
            port=options["port"],
            loop="uvloop",
            http="menhir.wiring.bounds:BoundedHeads",
            ws="websockets-sansio",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            ws_max_size=1024 * 1024,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=settings.MENHIR_GRACE_SECONDS,
        )
        Server(config, drain_seconds=settings.MENHIR_DRAIN_SECONDS).run(sockets=listening(config))


def _finished(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
