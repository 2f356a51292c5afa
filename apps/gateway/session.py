"""The connections of this process to its upstreams: made when one is needed, kept for the next request to the same place."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohappyeyeballs import start_connection
from yarl import URL

from apps.gateway.addresses import PrivateAddress, is_open
from apps.gateway.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohappyeyeballs import AddrInfoType

CONNECT_TIMEOUT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 60.0
NEXT_ADDRESS_SECONDS = 0.25
"""RFC 8305: how long an address has before the next one is tried beside it."""


class Unaddressable(ValueError):
    """A provider is described in a way in which nobody can be asked."""


class Origin(NamedTuple):
    """What a connection leads to."""

    host: str
    port: int
    tls: bool
    guarded: bool = False
    """Named by a tenant: it must not lead into the operator's network. Its connections are kept apart from those that may."""


class Endpoint(NamedTuple):
    """Where a request goes: to whom, and what stands in its first two lines."""

    origin: Origin
    authority: str
    target: str


@lru_cache(maxsize=1024)
def endpoint(url: str) -> Endpoint:
    """Read a URL; raises Unaddressable for one that is not http or https.

    >>> endpoint("https://api.openai.com/v1/embeddings")
    Endpoint(origin=Origin(host='api.openai.com', port=443, tls=True, guarded=False), authority='api.openai.com', target='/v1/embeddings')
    """
    try:
        parsed = URL(url)
    except ValueError as e:
        raise Unaddressable("An upstream is reached by a URL.") from e
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host or parsed.port is None:
        raise Unaddressable("An upstream is reached by a URL of http or https.")
    return Endpoint(Origin(parsed.raw_host, parsed.port, parsed.scheme == "https"), parsed.host_port_subcomponent or "", parsed.raw_path_qs)


class Session:
    """Kept connections, the latest used first: so those that are too many grow old and are closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = ssl.create_default_context()
        self._kept: dict[Origin, dict[Connection, float]] = {}
        self._used: set[Connection] = set()
        self._broom = self._loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)
        self.closed = False

    async def take(self, origin: Origin, *, fresh: bool = False) -> Connection:
        """Give a connection to this place, a kept one unless it shall be `fresh`; the caller gives it back by `release`.

        Raises OSError when there is none to be had.
        """
        kept = None if fresh else self._kept.get(origin)
        connection = kept.popitem()[0] if kept else await self._connect(origin)
        self._used.add(connection)
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Keep the connection for the next request, or close it: to close is the one way to tell the other side to stop working."""
        self._used.discard(connection)
        if connection.reusable and not self.closed:
            self._kept.setdefault(origin, {})[connection] = self._loop.time()
        else:
            connection.close()

    async def close(self) -> None:
        """Close every connection."""
        self.closed = True
        self._broom.cancel()
        for connection in [*self._used, *(connection for kept in self._kept.values() for connection in kept)]:
            connection.close()
        await asyncio.sleep(0)  # the transports close in the loop's next turn

    async def _connect(self, origin: Origin) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            found = self._reachable(origin, await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM))
            if len(found) == 1 and found[0][0] == socket.AF_INET:  # nothing to choose from: the loop alone takes half as long
                return await self._opened(origin, host=found[0][4][0], port=origin.port)
            sock = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=self._loop)
            try:
                return await self._opened(origin, sock=sock)
            except BaseException:
                sock.close()
                raise

    async def _opened(self, origin: Origin, **to: Any) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop, lost=partial(self._forget, origin)),
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
            **to,
        )
        return connection

    def _reachable(self, origin: Origin, found: Sequence[AddrInfoType]) -> Sequence[AddrInfoType]:
        """Which of the addresses that a name has may be connected to; raises PrivateAddress when none may."""
        if not origin.guarded:
            return found
        allowed = [place for place in found if is_open(origin.host, str(place[4][0]))]
        if not allowed:
            raise PrivateAddress(f"{origin.host} leads into a private network.")
        return allowed

    def _forget(self, origin: Origin, connection: Connection) -> None:
        self._kept.get(origin, {}).pop(connection, None)

    def _sweep(self) -> None:
        """Close what nobody has used for long."""
        last = self._loop.time() - KEEP_ALIVE_SECONDS
        for origin, kept in tuple(self._kept.items()):
            for connection, since in tuple(kept.items()):
                if since < last:
                    del kept[connection]
                    connection.close()
            if not kept:
                del self._kept[origin]
        self._broom = self._loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)
