"""Where a tenant's own URLs may lead: every kind of address that there is, by name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from django.test import override_settings

from menhir.tenancy import outbound

CLOSED = {
    "this network": ("0.0.0.0", "0.1.2.3"),  # noqa: S104
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    "shared by a carrier": ("100.64.0.1", "100.127.255.255"),
    "loopback": ("127.0.0.1", "127.255.255.254"),
    "link-local, and the clouds' metadata": ("169.254.0.1", "169.254.169.254"),
    "protocol assignments": ("192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.0.192"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1"),
    "relays of 6to4": ("192.88.99.1",),
    "benchmarks": ("198.18.0.1", "198.19.255.255"),
    "multicast": ("224.0.0.1", "239.255.255.255"),
    "reserved and broadcast": ("240.0.0.1", "255.255.255.255"),
    "IPv6: unspecified and loopback": ("::", "::1"),
    "IPv4-compatible": ("::127.0.0.1", "::10.0.0.1", "::8.8.8.8"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1"),
    "IPv4-translated": ("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
    "NAT64": ("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254"),
    "NAT64 of a site": ("64:ff9b:1::1", "64:ff9b:1:ffff:ffff:ffff:7f00:1"),
    "discarded": ("100::1",),
    "Teredo, benchmarks, ORCHID": ("2001::1", "2001:0:7f00:1::1", "2001:2::1", "2001:10::1", "2001:20::1"),
    "IPv6: documentation": ("2001:db8::1", "3fff::1", "3fff:fff:ffff::1"),
    "6to4": ("2002:7f00:1::1", "2002:808:808::1"),
    "segments of routing": ("5f00::1",),
    "unique local": ("fc00::1", "fd12:3456::1"),
    "IPv6: link-local": ("fe80::1", "fe80::1%eth0", "febf::1"),
    "site-local": ("fec0::1", "feff:ffff::1"),
    "IPv6: multicast": ("ff02::1", "ff0e::1"),
    "nobody's yet": ("1000::1", "4000::1", "8000::1", "e000::1"),
}
OPEN = (
    "8.8.8.8",
    "93.184.215.14",
    "192.0.1.1",
    "223.255.255.255",
    "2606:2800:21f:cb07::1",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
)


@pytest.mark.parametrize("kind", CLOSED)
@override_settings(MENHIR_PRIVATE_NETWORKS=())
def test_what_is_not_public_is_not_called(kind: str) -> None:
    assert [address for address in CLOSED[kind] if outbound.is_open(address)] == []


@override_settings(MENHIR_PRIVATE_NETWORKS=())
def test_what_is_public_is_called_over_https_alone() -> None:
    assert [address for address in OPEN if not outbound.is_open(address)] == []
    assert [address for address in OPEN if outbound.is_open(address, scheme="http")] == []
    assert outbound.is_open(ip_address("8.8.8.8"))


@override_settings(MENHIR_PRIVATE_NETWORKS=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
def test_what_the_operator_opened_is_called() -> None:
    assert outbound.is_open("10.1.2.3", scheme="http")
    assert outbound.is_open("::ffff:10.1.2.3")
    assert outbound.is_open("fd00::1")
    assert not outbound.is_open("192.168.1.1")
