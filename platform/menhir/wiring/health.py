"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve. For supervisors, balancers and probes.

They are answered without Django: a probe every second asks for no session, no page and no language, and hears the truth even while the
pages' pool is exhausted or not loaded yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple

import orjson
import psycopg
from asgiref.sync import sync_to_async

from menhir.postgres import roles
from menhir.postgres.listener import listener
from menhir.telemetry import requests
from menhir.wiring.lifespan import state

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LIVES: Final = "/healthz"
PATHS: Final = frozenset({LIVES, "/readyz", "/api/v1/health"})
PATIENCE_SECONDS: Final = 2
LISTEN_SECONDS: Final = 0.5
"""Within which the listener hears a channel that somebody has just subscribed to: no reason to be sent no calls."""
FRESH_SECONDS: Final = 1.0
HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]


async def health(scope: Scope, send: Send) -> None:
    """Answer a probe: 200 when all is well, 503 when the process cannot serve, and which check says so."""
    if scope["method"] not in {"GET", "HEAD"}:
        await _say(scope, send, 405, {"status": "unavailable"}, [(b"allow", b"GET, HEAD")])
        return
    if scope["path"] == LIVES:
        await _say(scope, send, 200, {"status": "ok"})
        return
    found = await probe.found()
    checks = {"database": found.database, "migrations": state.migrated, "listener": found.listener, "accepting": state.accepting}
    ready = all(checks.values())
    await _say(scope, send, 200 if ready else 503, {"status": "ok" if ready else "unavailable", "checks": checks})


async def _say(scope: Scope, send: Send, status: int, value: object, more: list[tuple[bytes, bytes]] | None = None) -> None:
    body = orjson.dumps(value)
    given = next((said for name, said in scope["headers"] if name == b"x-request-id"), b"")
    own = [(b"content-length", b"%d" % len(body)), (b"x-request-id", requests.accept(given.decode("latin-1")).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*HEADERS, *own, *(more or [])]})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


class Found(NamedTuple):
    """What asking has shown."""

    database: bool
    listener: bool


class Probe:
    """Asks for all who want to know, once a second at most: each question takes a connection, and anybody may put it."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[Found] | None = None
        self._asked = 0.0

    async def found(self) -> Found:
        """What was found within the last second, or what is being found."""
        loop, task = asyncio.get_running_loop(), self._asking
        if task is None or task.get_loop() is not loop or (task.done() and loop.time() - self._asked >= FRESH_SECONDS):
            self._asked = loop.time()
            task = self._asking = loop.create_task(_look(), name="probe")
        return await asyncio.shield(task)  # whoever asks first may leave; the others wait on


probe = Probe()


async def _look() -> Found:
    return Found(*await asyncio.gather(_database_answers(), listener.ready(within_seconds=LISTEN_SECONDS)))


@sync_to_async(thread_sensitive=False)
def _database_answers() -> bool:
    """Asked on a connection of its own: while the database is away a pool would make the question wait for seconds."""
    try:
        with psycopg.connect(roles.conninfo("app"), connect_timeout=PATIENCE_SECONDS) as connection:
            connection.execute("SELECT 1")
    except (psycopg.Error, RuntimeError):
        return False
    return True
