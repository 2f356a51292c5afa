"""What lives as long as the process: the one HTTP session through which every upstream is reached.

`start()` and `stop()` are called by wiring's lifespan, in every process that makes model calls, on its event loop.
"""

from __future__ import annotations

import aiohttp

from menhir.errors import Unavailable

CONNECT_TIMEOUT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 60.0
DNS_CACHE_SECONDS = 60
READ_BUFFER_BYTES = 256 * 1024

_session: aiohttp.ClientSession | None = None


async def start() -> None:
    """Open the session on the running loop. Does nothing when it is open."""
    global _session  # noqa: PLW0603 - one for each process is the point
    if _session is not None and not _session.closed:
        return
    _session = aiohttp.ClientSession(
        # Calls are limited where they are admitted; a second, hidden queue here would only hide the wait.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=DNS_CACHE_SECONDS),
        # How long an answer may take differs for each target and is `hangup`'s to watch.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        read_bufsize=READ_BUFFER_BYTES,
        trust_env=False,
    )


async def stop() -> None:
    """Close the session and its connections. Does nothing when it is closed."""
    global _session
    session, _session = _session, None
    if session is not None:
        await session.close()


def session() -> aiohttp.ClientSession:
    """The open session; raises Unavailable before `start()` and after `stop()`."""
    if _session is None:
        raise Unavailable("This process does not reach any model: its gateway is not started.")
    return _session
