"""What a process of ours holds while it lives: pools, the listener, the ledger's writer, the journal, the relay's sessions.

`web`, `worker` and tests hold the same; each part is started once per process, in this order, and stopped in reverse. A process that
finds no database, or one that lacks migrations, waits for it: it says so in its log and at `/readyz`, and serves nothing meanwhile.

A process that goes leaves behind what does not stop in time: see `parting`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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
from menhir.wiring.parting import LEAST_SECONDS, LEDGER_SECONDS, PARTS_SECONDS, REST_SECONDS

LOOK_AGAIN_SECONDS = 1.0
LOOK_AT_LEDGER_SECONDS = 0.05
NAMED = 3

log = structlog.get_logger("menhir.process")


@dataclass(slots=True)
class State:
    """What readiness asks."""

    accepting: bool = False
    migrated: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    grace_until: float = 0.0
    """By the loop's clock: until when those who go may let answers end that nobody at the door waits for, such as the chat's."""
    deadline: float = 0.0
    """By the loop's clock: when the part that is being stopped is left behind."""


state = State()


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Hold everything for as long as the block runs; give it back whatever happens.

    The block begins at once; where the database is not ready, the parts follow when it is (`state.started`).
    """
    state.accepting, state.migrated, state.started, state.grace_until = False, False, asyncio.Event(), 0.0
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
                async with asyncio.timeout_at(state.grace_until):
                    await client.settled()
            state.deadline = asyncio.get_running_loop().time() + PARTS_SECONDS


async def _start(stack: AsyncExitStack) -> None:
    state.migrated = True
    await pools.open_all()
    stack.push_async_callback(_within_deadline, "pools", pools.close_all)
    for part, stop in (
        (lag, lag.stop),
        (lines, lines.stop),
        (otel, otel.stop),
        (listener, listener.stop),
        (ledger, _stop_ledger),
        (limits, limits.stop),
        (journal, journal.stop),
        (runtime, _stop_runtime),
        (answers, answers.stop),
    ):
        await part.start()
        if part is ledger:
            stack.push_async_callback(stop)
        else:
            stack.push_async_callback(_within_deadline, stop.__qualname__, stop)
    state.accepting = True
    state.started.set()


async def _within_deadline(name: str, stop: Callable[[], Awaitable[None]]) -> None:
    """Stop a part; one that does not end in time is left as it is."""
    try:
        async with asyncio.timeout_at(max(state.deadline, asyncio.get_running_loop().time() + LEAST_SECONDS)):
            await stop()
    except TimeoutError:
        log.warning("a part did not stop in time", part=name)


async def _stop_runtime() -> None:
    """Answers are broken off by now: see their calls end, then whatever else is under way."""
    left = max(LEAST_SECONDS, state.deadline - asyncio.get_running_loop().time())
    with suppress(TimeoutError):
        await asyncio.wait_for(client.settled(), timeout=left / 4)
    await runtime.stop(within_seconds=left / 2)


async def _stop_ledger() -> None:
    """Wait for the bills of what was broken off a moment ago, write them, and give the rest of the parts their time."""
    loop = asyncio.get_running_loop()
    while ledger.unsettled and loop.time() < state.deadline:  # noqa: ASYNC110  # no bell for what happens once in a process's life
        await asyncio.sleep(LOOK_AT_LEDGER_SECONDS)
    try:
        async with asyncio.timeout(LEDGER_SECONDS):
            await ledger.stop()
    except TimeoutError:
        log.exception("the ledger did not stop in time")
    state.deadline = loop.time() + REST_SECONDS


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
