"""Configuration that is read on every request: cached per entry, evicted by a bell, never trusted for long without one.

While the listener is connected an entry lives until its tenant's bell of that kind rings (or `LONGEST_SECONDS`). While it is not, entries
live `DEAF_SECONDS` at most: a revoked key must not go on working because a connection broke.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakSet

from django.db import transaction

from menhir.postgres import notify
from menhir.postgres.listener import listener

CHANNEL = "menhir_hot"
DEAF_SECONDS = 5.0
LONGEST_SECONDS = 300.0
MOST_ENTRIES = 50_000
MOST_ABSENCES = 5_000
"""Of each cache. Strangers can ask for what is not there without end: their questions must not cost memory, nor the entries of others."""

V = TypeVar("V")
_caches: WeakSet[HotCache[Any]] = WeakSet()
_watching: list[Callable[[UUID | None], None]] = []
Owner = UUID | None
"""Whose entry it is; None is for what is looked up before a tenant is known, and is evicted by any tenant's bell of its kind."""


def notify_changed(kind: str, tenant_id: UUID) -> None:
    """Say, at commit, that configuration of this kind changed for a tenant.

    Other processes hear the bell. This one forgets before the commit returns to its caller: his very next call must not meet the old.
    """
    notify.now(CHANNEL, f"{kind} {tenant_id}")
    transaction.on_commit(lambda: _forget(kind, tenant_id))


def on_change(callback: Callable[[UUID | None], None]) -> None:
    """Call back with each tenant of whom anything changed, of whatever kind; with None when it may be anybody's.

    For what is derived from configuration of many kinds. It is true only while `listener.connected`.
    """
    if not _watching:
        listener.subscribe(CHANNEL, lambda payload: _tell(UUID(payload.partition(" ")[2])))
        listener.on_reconnect(lambda: _tell(None))
    _watching.append(callback)


def _tell(tenant_id: UUID | None) -> None:
    for callback in _watching:
        callback(tenant_id)


def _forget(kind: str, tenant_id: UUID) -> None:
    for cache in tuple(_caches):
        if cache.kind == kind:
            cache.evict(tenant_id)
    _tell(tenant_id)


class HotCache(Generic[V]):
    """Entries of one kind, by owner and key. Absence is an entry, too; concurrent misses of one entry load once."""

    def __init__(self, kind: str, *, ttl_seconds: float = LONGEST_SECONDS) -> None:
        self.kind = kind
        self.ttl_seconds = ttl_seconds
        self._entries: dict[Owner, dict[object, tuple[float, V | None]]] = {}
        self._loading: dict[tuple[Owner, object], asyncio.Task[V | None]] = {}
        self._absences: dict[tuple[Owner, object], None] = {}
        self._count = 0
        self._generation = 0
        _caches.add(self)
        listener.subscribe(CHANNEL, self._rung)
        listener.on_reconnect(self.clear)

    async def get(self, owner: Owner, key: object, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """The entry, loaded when it is absent or too old."""
        known = self.known(owner, key)
        return known[1] if known is not None else await self._load(owner, key, load)

    def known(self, owner: Owner, key: object) -> tuple[float, V | None] | None:
        """The entry with the time it is of, when it is here and young enough; else None. Nothing is loaded, and nobody waits."""
        entries = self._entries.get(owner)
        if entries is not None and (entry := entries.get(key)) is not None:
            limit = self.ttl_seconds if listener.connected else DEAF_SECONDS
            if time.monotonic() - entry[0] < limit:
                return entry
        return None

    async def _load(self, owner: Owner, key: object, load: Callable[[], Awaitable[V | None]]) -> V | None:
        spot = (owner, key)
        task = self._loading.get(spot)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            # A task of its own: when the first who asked hangs up, those who wait with him must not be cancelled.
            task = self._loading[spot] = asyncio.get_running_loop().create_task(self._fill(owner, key, load))
        return await asyncio.shield(task)

    async def _fill(self, owner: Owner, key: object, load: Callable[[], Awaitable[V | None]]) -> V | None:
        generation, began = self._generation, time.monotonic()
        try:
            value = await load()
        finally:
            if self._loading.get((owner, key)) is asyncio.current_task():
                del self._loading[owner, key]
        # A bell that rang while we read may be about what we read: then it is used once and not kept.
        if generation == self._generation:
            if self._count >= MOST_ENTRIES:
                self.clear()
            entries = self._entries.setdefault(owner, {})
            self._count += key not in entries
            entries[key] = (began, value)
            if value is None:
                self._bound_absences((owner, key))
        return value

    def _bound_absences(self, spot: tuple[Owner, object]) -> None:
        """Forget the oldest absence when there are too many; some that are listed may be evicted, or present, by now."""
        self._absences[spot] = None
        if len(self._absences) > MOST_ABSENCES:
            owner, key = next(iter(self._absences))
            del self._absences[owner, key]
            entries = self._entries.get(owner, {})
            if (entry := entries.get(key)) is not None and entry[1] is None:
                del entries[key]
                self._count -= 1

    def clear(self) -> None:
        """Forget everything."""
        self._generation += 1
        self._count = 0
        self._absences.clear()
        self._entries.clear()
        self._loading.clear()

    def evict(self, tenant_id: UUID) -> None:
        """Forget what is a tenant's, and what was looked up before a tenant was known."""
        self._generation += 1
        for owner in (tenant_id, None):
            self._count -= len(self._entries.pop(owner, ()))
        self._absences = {spot: None for spot in self._absences if spot[0] not in {tenant_id, None}}
        for spot in [spot for spot in tuple(self._loading) if spot[0] in {tenant_id, None}]:
            self._loading.pop(spot, None)  # whoever asks from now on must not get what was read before

    def _rung(self, payload: str) -> None:
        kind, _, tenant_id = payload.partition(" ")
        if kind == self.kind:
            self.evict(UUID(tenant_id))
