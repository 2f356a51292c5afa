"""What is kept and wanted no more goes, in small steps, so that nobody waits for a lock or for a long transaction."""

from __future__ import annotations

from typing import Final

from menhir.postgres import sql
from menhir.postgres.line import Line

STEP_ROWS: Final = 5_000
MOST_VECTORS: Final = 1_000_000
"""Of one tenant: 1.6 GB at 384 dimensions. The oldest go, and are computed again should anybody want them."""
EVICTIONS: Final = tuple(sql.load("apps.gateway", name) for name in ("evict_cached_answers", "evict_keys"))

PRUNE: Final = sql.load("apps.gateway", "prune_cached_embeddings")


async def evict() -> int:
    """Delete answers and idempotency keys that are over; how many rows."""
    gone = 0
    line = Line("gateway")
    try:
        for statement in EVICTIONS:
            while step := await line.run(statement, most=STEP_ROWS):
                gone += step
                if step < STEP_ROWS:
                    break
    finally:
        await line.close()
    return gone


async def prune(*, most: int = MOST_VECTORS) -> int:
    """Delete the oldest vectors of tenants who have more than so many; how many."""
    gone = 0
    line = Line("gateway")
    try:
        while step := await line.run(PRUNE, most=most, step=STEP_ROWS):
            gone += step
    finally:
        await line.close()
    return gone
