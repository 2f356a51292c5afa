"""Two journals with a listener each stand for two processes; where it matters that they are, a test starts a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from menhir.postgres import pools, roles
from menhir.postgres.ids import uuid7
from menhir.postgres.listener import Listener
from menhir.realtime.journal import Journal


@pytest.fixture
async def pool() -> AsyncIterator[None]:
    await pools.app.open()
    yield
    await pools.app.close()


@asynccontextmanager
async def process() -> AsyncIterator[Journal]:
    listener = Listener(lambda: roles.conninfo("app"))
    await listener.start()
    journal = Journal(listener)
    await journal.start()
    try:
        yield journal
    finally:
        await journal.stop()
        await listener.stop()


@pytest.fixture
async def journal(pool: None) -> AsyncIterator[Journal]:
    async with process() as journal:
        yield journal


@pytest.fixture
async def other_journal(pool: None) -> AsyncIterator[Journal]:
    async with process() as journal:
        yield journal


@pytest.fixture
def tenant_id() -> UUID:
    """Alice's; nothing here asks more of a tenant than an id."""
    return uuid7()


@pytest.fixture
def other_tenant_id() -> UUID:
    """Mallory's."""
    return uuid7()


@pytest.fixture
async def behind(superuser: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A superuser's connection, to look behind row-level security and to cut others off."""
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        yield connection
