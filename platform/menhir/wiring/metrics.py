"""`/metrics`, in the form that Prometheus reads: for those who operate the platform, and for no tenant.

With `MENHIR_METRICS_TOKEN` set, whoever brings it as a bearer token may read, from wherever he comes. Without, only programs on this very
machine may, and only where nobody else is served: a reverse proxy is a program on this machine, too, and speaks for strangers, in whose
requests nothing need tell. So where `MENHIR_PUBLIC_URL` is not this machine's, or `MENHIR_BEHIND_PROXY` is set, the token alone opens. What
came through a proxy by its headers, or by a name that is not this machine's, is refused anyhow.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from menhir.telemetry import exposition

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH: Final = "/metrics"
FORWARDING: Final = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-real-ip", b"via"})
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
REFUSED: Final = b"Metrics are for operators: set MENHIR_METRICS_TOKEN and send it as a bearer token.\n"

looks: list[Callable[[], Awaitable[None]]] = []
"""What must be asked before a scrape, since a gauge may only look."""


async def metrics(scope: Scope, send: Send) -> None:
    """Answer a scrape."""
    if scope["method"] not in {"GET", "HEAD"}:
        await answer(send, 405, b"", [(b"allow", b"GET")])
        return
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if not admits(headers, scope.get("client")):
        token_set = bool(settings.MENHIR_METRICS_TOKEN)
        await answer(send, 401 if token_set else 403, REFUSED, [(b"www-authenticate", b"Bearer")] if token_set else [])
        return
    for look in looks:
        await look()
    accept = headers.get(b"accept", b"").decode("latin-1")
    body, content_type = await asyncio.to_thread(exposition.render, accept)
    await answer(send, 200, body, content_type=content_type.encode())


def admits(headers: MutableMapping[bytes, bytes], client: tuple[str, int] | None) -> bool:
    """Whether whoever asks may read."""
    token: str = settings.MENHIR_METRICS_TOKEN
    if token:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())
    if client is None or headers.keys() & FORWARDING or _serves_strangers():
        return False
    host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0] or headers.get(b"host", b"").decode("latin-1")
    return host.strip("[]") in LOCAL_NAMES and _is_local(client[0])


def _serves_strangers() -> bool:
    host = urlsplit(settings.MENHIR_PUBLIC_URL).hostname or ""
    return settings.MENHIR_BEHIND_PROXY or not (host == "localhost" or _is_local(host))


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def answer(
    send: Send,
    status: int,
    body: bytes,
    more: list[tuple[bytes, bytes]] | None = None,
    *,
    content_type: bytes = b"text/plain; charset=utf-8",
) -> None:
    """Send a whole answer that nobody may keep."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *(more or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
