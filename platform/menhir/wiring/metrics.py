"""`/metrics`, in the form that Prometheus reads: for those who operate the platform, and for no tenant.

With `MENHIR_METRICS_TOKEN` set, whoever brings it as a bearer token may read, from wherever he comes. Without, only programs on this very
machine may. A reverse proxy is such a program, too, and speaks for strangers: what came through one, by its headers or by a name that is
not this machine's, is refused.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings

from apps.gateway import health
from menhir.errors import Unavailable
from menhir.metering.limits import limits
from menhir.postgres import pools, sql
from menhir.postgres.listener import listener
from menhir.telemetry import exposition, gauges
from menhir.wiring.lifespan import state

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH: Final = "/metrics"
FORWARDING: Final = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-real-ip", b"via"})
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
JOBS_PATIENCE_SECONDS: Final = 1.0
COUNT_JOBS: Final = sql.load(__package__, "count_jobs")
REFUSED: Final = b"Metrics are for operators: set MENHIR_METRICS_TOKEN and send it as a bearer token, or ask from this machine.\n"

jobs: dict[tuple[str, ...], float] = {}
"""As the last scrape counted them."""

POOL_STATES: Final = {"pool_size": "open", "pool_available": "free", "requests_waiting": "waited_for"}


def _pools() -> dict[tuple[str, ...], float]:
    return {
        (pool.role, word): pool.stats[name]
        for pool in (pools.app, pools.gateway)
        for name, word in POOL_STATES.items()
        if name in pool.stats
    }


def _breakers() -> dict[tuple[str, ...], float]:
    states = Counter(seen.breaker for seen in health.breakers())
    return {("open",): states["open"], ("half_open",): states["half_open"]}


def _leases() -> dict[tuple[str, ...], float]:
    """Added up over all limits: whose they are is not for here."""
    found: dict[tuple[str, ...], float] = {}
    for metric, free, busy in limits.levels():
        found[metric, "free"] = found.get((metric, "free"), 0.0) + float(free)
        found[metric, "busy"] = found.get((metric, "busy"), 0.0) + float(busy)
    return found


async def _look_at_jobs() -> None:
    """Count the jobs for the scrape that follows; while the database is away, nothing is said of them."""
    jobs.clear()
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(JOBS_PATIENCE_SECONDS), pools.app.connection() as connection:
            jobs.update(((row.queue, row.status), row.jobs) for row in await COUNT_JOBS.all(connection))


gauges.register("menhir_ready", "Whether this process takes calls.", lambda: state.accepting)
gauges.register("menhir_listener_connected", "Whether a bell rung in the database is heard here.", lambda: listener.connected)
gauges.register("menhir_pool_connections", "Connections of the async plane, by role.", _pools, labels=("role", "state"))
gauges.register("menhir_breakers", "Targets that are not asked, or asked by one call to see.", _breakers, labels=("state",))
gauges.register("menhir_lease_level", "What this process holds of limits, by metric.", _leases, labels=("metric", "state"))
gauges.register("menhir_jobs", "Jobs that wait or are being worked on, by queue.", lambda: dict(jobs), labels=("queue", "status"))


async def metrics(scope: Scope, send: Send) -> None:
    """Answer a scrape."""
    if scope["method"] not in {"GET", "HEAD"}:
        await _answer(send, 405, b"", [(b"allow", b"GET")])
        return
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if not admits(headers, scope.get("client")):
        token_set = bool(settings.MENHIR_METRICS_TOKEN)
        await _answer(send, 401 if token_set else 403, REFUSED, [(b"www-authenticate", b"Bearer")] if token_set else [])
        return
    await _look_at_jobs()
    accept = headers.get(b"accept", b"").decode("latin-1")
    body, content_type = await asyncio.to_thread(exposition.render, accept)
    await _answer(send, 200, body, content_type=content_type.encode())


def admits(headers: MutableMapping[bytes, bytes], client: tuple[str, int] | None) -> bool:
    """Whether whoever asks may read."""
    token: str = settings.MENHIR_METRICS_TOKEN
    if token:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())
    if client is None or headers.keys() & FORWARDING:
        return False
    host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0] or headers.get(b"host", b"").decode("latin-1")
    return host.strip("[]") in LOCAL_NAMES and _is_local(client[0])


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    more: list[tuple[bytes, bytes]] | None = None,
    *,
    content_type: bytes = b"text/plain; charset=utf-8",
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *(more or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
