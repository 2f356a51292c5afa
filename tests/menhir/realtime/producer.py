"""A process that writes a stream and is killed in the middle of it. Takes a tenant's id; prints the run's."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

from menhir.postgres import pools
from menhir.postgres.listener import listener
from menhir.realtime.journal import journal


async def main(tenant_id: UUID) -> None:
    await pools.app.open()
    await listener.start()
    await journal.start()
    run = await journal.begin(tenant_id, "conversation:1")
    print("run", run.id, flush=True)
    while not run.stop_requested.is_set():
        await run.append({"kind": "text", "text": f"word {run.seq + 1}"})
        await asyncio.sleep(0.01)
    await run.end("stopped")
    await journal.stop()
    await listener.stop()
    await pools.app.close()


asyncio.run(main(UUID(sys.argv[1])))
