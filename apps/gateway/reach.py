"""Where a tenant's own URLs may lead: to the public internet, and not into the network that this process stands in.

The name is resolved once, every address it has is judged, and the connection goes to one of those very addresses: a name that
says something else the next moment gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from aiohappyeyeballs import start_connection
from django.conf import settings

from apps.gateway.connection import Connection
from apps.gateway.session import CONNECT_TIMEOUT_SECONDS, NEXT_ADDRESS_SECONDS, Session

if TYPE_CHECKING:
    from apps.gateway.session import Origin


NAT64 = IPv6Network("64:ff9b::/96")


class Forbidden(OSError):
    """The address leads into a private network."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, however it is dressed.

    >>> [is_public(address) for address in ("8.8.8.8", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a00:1", "100.64.0.1")]
    [True, False, False, False, False, False]
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in NAT64:
            inner = ip_address(int(ip) & 0xFFFFFFFF)  # type: ignore[assignment]
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class PublicSession(Session):
    """Connections to where tenants' own URLs lead."""

    async def _connect(self, origin: Origin) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            found = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            if not settings.MENHIR_PRIVATE_WEBHOOKS and not all(is_public(str(address[4][0])) for address in found):
                raise Forbidden(f"{origin.host} leads into a private network.")
            sock = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=self._loop)
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, lost=partial(self._forget, origin)),
                    sock=sock,
                    **self._how(origin),
                )
            except BaseException:
                sock.close()
                raise
        return connection

    def _how(self, origin: Origin) -> dict[str, Any]:
        return {"ssl": self._tls, "server_hostname": origin.host} if origin.tls else {}
