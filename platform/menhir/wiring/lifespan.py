"""What a process of ours holds while it lives: pools, the listener, the ledger's writer, the journal, the relay's sessions.

`web`, `worker` and tests hold the same; each part is started once per process, in this order, and stopped in reverse.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from apps.assistants.front import application as data_plane
from apps.chat.answering import answers
from apps.gateway import client, runtime
from menhir.metering.ledger import ledger
from menhir.postgres import pools
from menhir.postgres.listener import listener
from menhir.realtime.journal import journal

SETTLE_SECONDS = 10.0


@dataclass(slots=True)
class State:
    """What readiness asks."""

    accepting: bool = False


state = State()


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Hold everything for as long as the block runs; give it back whatever happens."""
    async with AsyncExitStack() as stack:
        await pools.open_all()
        stack.push_async_callback(pools.close_all)
        for part in (listener, ledger, journal, runtime, answers):
            await part.start()
            stack.push_async_callback(part.stop)
        client.use_application(data_plane)
        state.accepting = True
        try:
            yield
        finally:
            state.accepting = False
            with suppress(TimeoutError):  # what talks on is cancelled by its parts, and billed for what it said
                await asyncio.wait_for(client.settled(), timeout=SETTLE_SECONDS)
