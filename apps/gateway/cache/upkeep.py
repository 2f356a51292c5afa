"""What is kept and wanted no more goes, in small steps, so that nobody waits for a lock or for a long transaction."""

from __future__ import annotations

from typing import Final

from menhir.postgres import sql
from menhir.postgres.line import Line

STEP_ROWS: Final = 5_000
EVICTIONS: Final = tuple(sql.load("apps.gateway", name) for name in ("evict_cached_answers", "evict_keys"))


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
