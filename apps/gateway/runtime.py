"""What lives as long as the process: the one session through which every upstream is reached, another for where tenants' own URLs
lead, and who writes down what is no part of the ledger.

`start()` and `stop()` are called by wiring's lifespan, in every process that makes model calls, on its event loop.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from apps.gateway import afterwards, idempotency
from apps.gateway.aside import AsideWriter
from apps.gateway.cache import exact, flight, vectors
from apps.gateway.capture import writing
from apps.gateway.guardrails import events
from apps.gateway.reach import PublicSession
from apps.gateway.session import Session
from menhir.errors import Unavailable

STOP_SECONDS = 20.0

_session: Session | None = None
_public: PublicSession | None = None

WRITERS: tuple[AsideWriter[Any], ...] = (events.writer, writing.writer)


async def start() -> None:
    """Open the session on the running loop. Does nothing when it is open."""
    global _session, _public  # noqa: PLW0603 - one for each process is the point
    if _session is None or _session.closed:
        _session = Session()
    if _public is None or _public.closed:
        _public = PublicSession()
    for writer in WRITERS:
        writer.start()


async def stop(*, within_seconds: float = STOP_SECONDS) -> None:
    """Close the sessions and their connections, once the calls of those who have left are over. Does nothing when they are closed.

    What is not over within these seconds, of which the calls have the first half, is broken off.
    """
    global _session, _public
    loop = asyncio.get_running_loop()
    until = loop.time() + within_seconds
    await flight.landed(within_seconds=within_seconds / 4)
    await afterwards.done(within_seconds=within_seconds / 4)
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            await exact.shelf.written()
            await vectors.shelf.written()
    await idempotency.released(within_seconds=max(0.0, until - loop.time()))
    sessions, _session, _public = (_session, _public), None, None
    for session in sessions:
        if session is not None:
            await session.close()
    for writer in WRITERS:
        await writer.stop()


def session() -> Session:
    """The open session; raises Unavailable before `start()` and after `stop()`."""
    if _session is None:
        raise Unavailable("This process does not reach any model: its gateway is not started.")
    return _session


def public_session() -> PublicSession:
    """The session for URLs that a tenant wrote; raises Unavailable as `session` does."""
    if _public is None:
        raise Unavailable("This process does not reach any model: its gateway is not started.")
    return _public
