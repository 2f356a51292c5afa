"""The table of vectors: looked up by one statement for all texts of a request, written in the background."""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from apps.gateway.cache.shelf import Shelf
from menhir.errors import Unavailable
from menhir.postgres import pools, sql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

FIND = sql.load("apps.gateway", "find_cached_embeddings")
KEEP = sql.load("apps.gateway", "keep_cached_embeddings")
AT_ONCE: Final = 16
"""So many vectors are read out of their JSON before others get their turn: one of 1,536 dimensions takes 50 µs."""

Row = tuple["UUID", "UUID", bytes]
_numbers = msgspec.json.Decoder(list[float])


async def find(tenant_id: UUID, places: Sequence[UUID]) -> dict[UUID, bytes]:
    """Those that are known, as 32-bit floats; none while the database is away."""
    try:
        async with pools.gateway.connection() as connection:
            rows = await FIND.all(connection, tenant_id=tenant_id, ids=list(set(places)))
    except Unavailable:
        return {}
    return {row.id: bytes(row.vector) for row in rows}


def keep(tenant_id: UUID, place: UUID, said: bytes) -> None:
    """Have a vector written, given as the JSON of its answer; returns at once."""
    shelf.put((tenant_id, place, said), size=len(said))


def packed(said: bytes) -> bytes | None:
    """A vector's JSON, numbers or base64, as 32-bit floats; None when it is no vector.

    >>> packed(b"[1, -0.5]") == packed(b'"AACAPwAAAL8="') == struct.pack("<2f", 1.0, -0.5)
    True
    """
    try:
        if said.startswith(b'"'):
            vector = base64.b64decode(said[1:-1], validate=True)
            return vector if vector and len(vector) % 4 == 0 else None
        numbers = _numbers.decode(said)
        return struct.pack(f"<{len(numbers)}f", *numbers) if numbers else None
    except (msgspec.DecodeError, binascii.Error, OverflowError, ValueError):
        return None


async def _write(connection: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    known: dict[tuple[UUID, UUID], bytes] = {}
    for number, (tenant_id, place, said) in enumerate(rows):
        if (vector := packed(said)) is not None:
            known[tenant_id, place] = vector
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
    if known:
        await KEEP.run(
            connection,
            tenant_ids=[tenant_id for tenant_id, _place in known],
            ids=[place for _tenant, place in known],
            vectors=list(known.values()),
        )


shelf: Shelf[Row] = Shelf(_write, name="embeddings")
