"""Connections to where tenants' own URLs lead: to the public internet, and into no network that the operator has not opened.

What may be reached is judged by `menhir.tenancy.outbound`. The name is resolved once, every address it has is judged, and the
connection goes to one of those very addresses: a name that says something else the next moment gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from aiohappyeyeballs import start_connection

from apps.gateway.connection import Connection
from apps.gateway.session import CONNECT_TIMEOUT_SECONDS, NEXT_ADDRESS_SECONDS, Session
from menhir.tenancy import outbound

if TYPE_CHECKING:
    from apps.gateway.session import Origin


class PrivateAddress(OSError):
    """The address leads into a private network."""


class PublicSession(Session):
    """A session that goes to public addresses alone, and by https, unless the operator opened a network of his own."""

    async def _connect(self, origin: Origin) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            found = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            scheme = "https" if origin.tls else "http"
            if not all(outbound.is_open(ip_address(str(place[4][0]).partition("%")[0]), scheme=scheme) for place in found):
                raise PrivateAddress(f"{origin.host} leads into a private network.")
            sock = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=self._loop)
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, lost=partial(self._forget, origin)), sock=sock, **self._how(origin)
                )
            except BaseException:
                sock.close()
                raise
        return connection

    def _how(self, origin: Origin) -> dict[str, Any]:
        return {"ssl": self._tls, "server_hostname": origin.host} if origin.tls else {}
