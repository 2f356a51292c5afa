"""What this process knows of the targets it asks: a breaker and two latencies for each, kept while routes are reloaded.

A target is known by its row, which belongs to one tenant, and by where and with what credential it is reached: another
tenant's bad key says nothing about it, and with a new key it begins anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from apps.gateway.breaker import Breaker, State
from apps.gateway.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from uuid import UUID

MOST_TARGETS = 10_000


class Health(msgspec.Struct, eq=False):
    """How one target has been doing."""

    breaker: Breaker = msgspec.field(default_factory=Breaker)
    streams: Latency = msgspec.field(default_factory=Latency)
    """To the first content of a stream."""
    wholes: Latency = msgspec.field(default_factory=Latency)
    """To the end of a whole answer."""


class Seen(NamedTuple):
    """A target and the state of its breaker, for telemetry."""

    tenant_id: UUID
    provider: str
    upstream_model: str
    breaker: State


class _Known(NamedTuple):
    tenant_id: UUID
    provider: str
    upstream_model: str
    health: Health


_known: dict[Hashable, _Known] = {}


def health_of(key: Hashable, *, tenant_id: UUID, provider: str, upstream_model: str) -> Health:
    """Give what is known under this key; asked when a route is loaded, not when it is called."""
    known = _known.get(key)
    if known is None:
        if len(_known) >= MOST_TARGETS:
            del _known[next(iter(_known))]
        known = _known[key] = _Known(tenant_id, provider, upstream_model, Health())
    return known.health


def breakers() -> Iterator[Seen]:
    """Go through every target whose breaker remembers a failure; all others are closed."""
    now = time.monotonic()
    for known in tuple(_known.values()):
        if not known.health.breaker.calm:
            yield Seen(known.tenant_id, known.provider, known.upstream_model, known.health.breaker.state(now))


def forget() -> None:
    """Begin anew."""
    _known.clear()
