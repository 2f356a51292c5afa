"""Where an upstream that a tenant named himself may be: on the open internet, never inside the operator's network.

Whoever may write a base URL could else have the gateway ask the machine's own services, its neighbours, or the cloud's
metadata service (server-side request forgery). A name says nothing about where it leads, and may lead elsewhere a moment
later: so every address is checked when it is connected to, and that very address is used. Providers that the operator made are
not asked. What is public is judged as for every URL of a tenant's (`menhir.tenancy.outbound`, with the operator's
`MENHIR_PRIVATE_NETWORKS`); `MENHIR_PRIVATE_UPSTREAMS` opens hosts and networks for model servers alone, or `any`.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings

from menhir.tenancy import outbound

ANY = "any"


class PrivateAddress(OSError):
    """The address belongs to a network that tenants may not reach."""


def is_open(host: str, address: str) -> bool:
    """Tell whether a tenant's upstream of this name may be reached at this address.

    >>> is_open("api.example.com", "93.184.215.14"), is_open("api.example.com", "2606:2800:21f:cb07::1")
    (True, True)
    >>> [is_open("sly.example.com", address) for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "100.64.0.1")]
    [False, False, False, False, False]
    >>> [is_open("sly.example.com", address) for address in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [False, False, False, False, False]
    """
    if outbound.is_open(address):
        return True
    allowed = _allowed(tuple(settings.MENHIR_PRIVATE_UPSTREAMS))
    if allowed is None or host.lower().rstrip(".") in allowed[0]:
        return True
    inner = outbound.plain(address)
    return any(inner.version == network.version and inner in network for network in allowed[1])


def literal(host: str) -> str | None:
    """Give the address that a host already is, if it is one; names are looked up when they are connected to."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return None


@lru_cache(maxsize=4)
def _allowed(words: tuple[str, ...]) -> tuple[frozenset[str], tuple[IPv4Network | IPv6Network, ...]] | None:
    """Hosts and networks, or None when the operator allows any."""
    if ANY in words:
        return None
    hosts: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for word in words:
        try:
            networks.append(ip_network(word, strict=False))
        except ValueError:
            hosts.add(word.lower().rstrip("."))
    return frozenset(hosts), tuple(networks)
