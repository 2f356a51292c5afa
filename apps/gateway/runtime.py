"""What lives as long as the process: the one session through which every upstream is reached.

`start()` and `stop()` are called by wiring's lifespan, in every process that makes model calls, on its event loop.
"""

from __future__ import annotations

from apps.gateway import afterwards, idempotency
from apps.gateway.cache import exact, flight
from apps.gateway.session import Session
from menhir.errors import Unavailable

LAND_SECONDS = 10.0
AFTERWARDS_SECONDS = 5.0

_session: Session | None = None


async def start() -> None:
    """Open the session on the running loop. Does nothing when it is open."""
    global _session  # noqa: PLW0603 - one for each process is the point
    if _session is None or _session.closed:
        _session = Session()


async def stop() -> None:
    """Close the session and its connections, once the calls of those who have left are over. Does nothing when it is closed."""
    global _session
    await flight.landed(within_seconds=LAND_SECONDS)
    await afterwards.done(within_seconds=AFTERWARDS_SECONDS)
    await exact.shelf.written()
    await idempotency.released(within_seconds=LAND_SECONDS)
    session, _session = _session, None
    if session is not None:
        await session.close()


def session() -> Session:
    """The open session; raises Unavailable before `start()` and after `stop()`."""
    if _session is None:
        raise Unavailable("This process does not reach any model: its gateway is not started.")
    return _session
