"""Addresses that a tenant names and this process shall call: public ones, unless an operator has opened a network of his own.

Without this, whoever may write a URL into his configuration could read what only this machine can reach: a cloud's metadata, the database's
neighbours. The name is resolved once, every address it has is looked at, and the connection goes to the one that was looked at: a name
that changes its mind in between gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings

from menhir.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from urllib.parse import SplitResult

DEFAULT_PORTS = {"https": 443, "http": 80}
NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address in IPv6's clothes (RFC 6052)."""
GLOBAL_UNICAST = IPv6Network("2000::/3")
"""Whatever else IPv6 has is local, a translation of IPv4, or nobody's yet; Python takes much of it for public."""
NOT_PUBLIC = (
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
)

Address = IPv4Address | IPv6Address


class AddressRefused(Invalid):
    """This address may not be called from here."""

    code = "address_refused"


class NoAnswer(Unavailable):
    """An address that was configured does not answer."""

    code = "no_answer"


def check(url: str, *, param: str | None = None) -> SplitResult:
    """Read a URL as far as it can be judged by its looks; raises AddressRefused."""
    if not url.isprintable():
        raise AddressRefused("A URL has no control characters.", param=param)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise AddressRefused("This is no URL.", param=param) from e
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0:
        raise AddressRefused("Give a URL that begins with https://.", param=param)
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("A URL with a password in it is not called.", param=param)
    if parts.scheme == "http" and not settings.MENHIR_PRIVATE_NETWORKS:
        raise AddressRefused("Give a URL that begins with https://.", param=param)
    return parts


async def get(url: str, *, most_bytes: int, seconds: float) -> bytes:
    """The body of a 200. Raises AddressRefused, or NoAnswer for anything else than 200, too large or too late."""
    import httpx2  # a process that calls nobody need not hold it

    parts = check(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    host = parts.hostname or ""
    try:
        async with asyncio.timeout(seconds):
            address = await _address(host, port, scheme=parts.scheme)
            literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - the version of IP
            target = httpx2.URL(url).copy_with(host=literal.strip("[]"))
            named = f"[{host}]" if ":" in host else host
            authority = named if port == DEFAULT_PORTS[parts.scheme] else f"{named}:{port}"
            async with (
                httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=seconds) as client,
                client.stream(
                    "GET", target, headers={"host": authority, "accept-encoding": "identity"}, extensions={"sni_hostname": host}
                ) as answer,
            ):
                if answer.status_code != 200:  # noqa: PLR2004 - OK
                    raise NoAnswer(f"{host} answered with status {answer.status_code}.")
                if answer.headers.get("content-encoding", "identity") != "identity":
                    # A few kilobytes can unpack to gigabytes, and would be counted only afterwards.
                    raise NoAnswer(f"{host} answered in an encoding that it was not asked for.")
                body = b""
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > most_bytes:
                        raise NoAnswer(f"{host} answered with more than {most_bytes} bytes.")
                return body
    except TimeoutError as e:
        raise NoAnswer(f"{host} did not answer within {seconds:g} seconds.") from e
    except httpx2.InvalidURL as e:
        raise AddressRefused("This is no URL.") from e
    except (httpx2.HTTPError, OSError) as e:
        raise NoAnswer(f"{host} cannot be reached.") from e


async def _address(host: str, port: int, *, scheme: str) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise NoAnswer(f"{host} is not known.") from e
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_open(address, scheme=scheme) for address in addresses):
        raise AddressRefused(f"{host} is not a public address.")
    return addresses[0]


def is_open(address: str | Address, *, scheme: str = "https") -> bool:
    """Whether an address may be called: a public one over https, one of the operator's networks in whatever way.

    >>> [is_open(word) for word in ("8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07::1")]
    [True, True, True]
    >>> [is_open(word) for word in ("127.0.0.1", "10.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1")]
    [False, False, False, False, False, False, False]
    >>> [is_open(word) for word in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [False, False, False, False, False, False]
    >>> [is_open(word) for word in ("2002:7f00:1::1", "2001:0:7f00:1::1")]  # 6to4 and Teredo lead through a stranger's relay
    [False, False]
    >>> is_open("8.8.8.8", scheme="http")
    False
    """
    inner = plain(address)
    if any(inner.version == network.version and inner in network for network in settings.MENHIR_PRIVATE_NETWORKS):
        return True
    return scheme == "https" and _is_public(inner)


def _is_public(address: Address) -> bool:
    if any(address.version == network.version and address in network for network in NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address) and (address not in GLOBAL_UNICAST or address.sixtofour is not None or address.teredo is not None):
        return False
    return address.is_global and not address.is_multicast


def plain(address: str | Address) -> Address:
    """Read an address without its zone, and unwrap the IPv4 address that travels inside an IPv6 one; raises ValueError.

    >>> [str(plain(word)) for word in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%eth0", "2606:2800:21f:cb07::1")]
    ['127.0.0.1', '127.0.0.1', 'fe80::1', '2606:2800:21f:cb07::1']
    """
    read = ip_address(str(address).partition("%")[0])
    if isinstance(read, IPv6Address):
        if read.ipv4_mapped is not None:
            return read.ipv4_mapped
        if read in NAT64:
            return IPv4Address(int(read) & 0xFFFFFFFF)
    return read
