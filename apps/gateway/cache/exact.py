"""Answers by the exact question: in this process, bounded in bytes; and for the other processes in an unlogged table.

The table is written in the background, in batches, and lost with the database's memory when that crashes: it is a cache. How long an
answer is good for is the route's word at the moment of asking; a row is deleted when nobody could want it any more.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from apps.gateway.cache.recording import Kept
from apps.gateway.cache.shelf import Shelf
from menhir.errors import Unavailable
from menhir.postgres import pools, sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from apps.gateway.cache.semantic import Meaning
    from apps.gateway.call import Call, ResolvedRoute

LIMIT_BYTES: Final = 64 * 1024 * 1024
FIND = sql.load("apps.gateway", "find_cached_answer")
KEEP = sql.load("apps.gateway", "keep_cached_answers")


class Memory:
    """Least recently used out first."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: bytes, *, seconds: float) -> Kept | None:
        """An answer that is no older than so."""
        kept = self._kept.get(key)
        if kept is None or time.time() - kept.created > seconds:
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """Remember an answer."""
        if (before := self._kept.pop(key, None)) is not None:
            self.bytes -= before.size
        self._kept[key] = kept
        self.bytes += kept.size
        while self.bytes > self.limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.size

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0


async def find(tenant_id: UUID, key: bytes, *, seconds: float) -> Kept | None:
    """An answer that is no older than so: from memory, else from the table, which is then remembered here."""
    if (kept := memory.find(key, seconds=seconds)) is not None:
        return kept
    try:
        async with pools.gateway.connection() as connection:
            row = await FIND.one(connection, tenant_id=tenant_id, id=UUID(bytes=key), seconds=float(seconds))
    except Unavailable:  # then there is one cache less
        return None
    if row is None:
        return None
    kept = kept_of(row)
    memory.put(key, kept)
    return kept


def keep(call: Call, route: ResolvedRoute, key: bytes, kept: Kept, *, meaning: Meaning | None = None) -> None:
    """Remember an answer here, and before long in the table."""
    memory.put(key, kept)
    shelf.put(
        {
            "tenant_ids": call.principal.tenant_id,
            "ids": UUID(bytes=key),
            "route_ids": route.id,
            "createds": datetime.fromtimestamp(kept.created, UTC),
            "seconds": float(route.cache_seconds + route.stale_seconds),
            "streams": kept.stream,
            "bodies": kept.body,
            "usages": kept.usage,
            "providers": kept.provider,
            "contexts": meaning.context if meaning is not None else None,
            "embeddings": meaning.literal if meaning is not None else None,
        },
        size=kept.size,
    )


def kept_of(row: Any) -> Kept:
    """An answer out of its row."""
    return Kept(stream=row.stream, body=bytes(row.body), usage=bytes(row.usage), provider=row.provider, created=row.created_at.timestamp())


async def _write(connection: AsyncConnection[Any], rows: Sequence[dict[str, Any]]) -> None:
    # Of two answers to one question in a batch the later stays: a statement may touch a row only once.
    rows = list({(row["tenant_ids"], row["ids"]): row for row in rows}.values())
    await KEEP.run(connection, **{name: [row[name] for row in rows] for name in rows[0]})


memory = Memory()
shelf: Shelf[dict[str, Any]] = Shelf(_write, name="cached answers")
