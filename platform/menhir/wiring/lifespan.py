"""What a process of ours holds while it lives: pools, the listener, the ledger's writer, the journal, the relay's sessions.

`web`, `worker` and tests hold the same; each part is started once per process, in this order, and stopped in reverse. A process that
finds no database, or one that lacks migrations, waits for it: it says so in its log and at `/readyz`, and serves nothing meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import structlog
from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, connection

from apps.assistants.front import application as data_plane
from apps.chat.answering import answers
from apps.gateway import client, runtime
from menhir.metering.ledger import ledger
from menhir.metering.limits import limits
from menhir.postgres import pools, roles
from menhir.postgres.listener import listener
from menhir.realtime.journal import journal
from menhir.telemetry.lag import lag
from menhir.telemetry.lines import lines
from menhir.telemetry.otel import otel
from menhir.wiring.migrating import pending

SETTLE_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 1.0
NAMED = 3

log = structlog.get_logger("menhir.process")


@dataclass(slots=True)
class State:
    """What readiness asks."""

    accepting: bool = False
    migrated: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)


state = State()


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Hold everything for as long as the block runs; give it back whatever happens.

    The block begins at once; where the database is not ready, the parts follow when it is (`state.started`).
    """
    state.accepting, state.migrated, state.started = False, False, asyncio.Event()
    client.use_application(data_plane)
    async with AsyncExitStack() as stack:
        why = await _why_not_ready()
        if why is None:
            await _start(stack)
        waiting = asyncio.create_task(_start_when_ready(stack, why), name="waiting for the database")
        try:
            yield
        finally:
            state.accepting = False
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            with suppress(TimeoutError):  # what talks on is cancelled by its parts, and billed for what it said
                await asyncio.wait_for(client.settled(), timeout=SETTLE_SECONDS)


async def _start(stack: AsyncExitStack) -> None:
    state.migrated = True
    await pools.open_all()
    stack.push_async_callback(pools.close_all)
    for part in (lag, lines, otel, listener, ledger, limits, journal, runtime, answers):
        await part.start()
        stack.push_async_callback(part.stop)
    state.accepting = True
    state.started.set()


async def _start_when_ready(stack: AsyncExitStack, why: str | None) -> None:
    """Look again until there is a database that has what this process needs; say each reason once."""
    while why is not None:
        log.error("not ready", reason=why)
        said = why
        while why == said:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            why = await _why_not_ready()
        if why is None:
            log.info("the database is ready")
            await _start(stack)


@sync_to_async(thread_sensitive=False)
def _why_not_ready() -> str | None:
    """What keeps this process from serving, in a sentence for whoever operates it; None when nothing does."""
    try:
        psycopg.connect(roles.conninfo("app"), connect_timeout=5).close()  # a pool would say only that it took too long
        missing = pending()
    except (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification):
        return NO_ENTRY
    except psycopg.OperationalError as e:
        said = " ".join(str(e).split())
        # psycopg gives a refusal at the door no class of its own.
        refused = "authentication failed" in said or "does not exist" in said
        return f"{NO_ENTRY} ({said})" if refused else f"The database does not answer: {said}"
    except (DatabaseError, InterfaceError) as e:
        return f"The database is not migrated: run `manage.py migrate_all`. ({' '.join(str(e).split())})"
    finally:
        connection.close()
    if not missing:
        return None
    names = ", ".join(missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
    return f"The database lacks {len(missing)} migrations ({names}): run `manage.py migrate_all`."


NO_ENTRY = "The database refuses this process: run `manage.py migrate_all` with the same MENHIR_SECRET_KEY."
