"""Two journals with a listener each stand for two processes; where it matters that they are, a test starts a real one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from menhir.postgres import pools, roles
from menhir.postgres.listener import Listener
from menhir.realtime.journal import Journal
from menhir.tenancy.models import Tenant

ROOT = Path(__file__).resolve().parents[3]


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
def cut(behind: psycopg.AsyncConnection[tuple[object, ...]]) -> Callable[[], Awaitable[None]]:
    """Cut every connection of the running roles but Django's own, which belongs to the tests."""
    connection.ensure_connection()
    spared = connection.connection.info.backend_pid

    async def cut() -> None:
        await behind.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'menhir_app' AND pid <> %s",
            [spared],
        )

    return cut


class Peer:
    """A real process of ours, running a script of this folder, that can be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, word: str) -> list[str]:
        """Wait for the line that begins with a word; the others are its log. Gives the rest of it."""
        async with asyncio.timeout(30):
            while line := await self.process.stdout.readline():
                if line.startswith(word.encode()):
                    return line.decode().split()[1:]
        raise AssertionError(f"it ended without saying {word}")

    async def die(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    """Start a script of this folder in a process of its own."""
    started: list[Peer] = []

    async def start(script: str, *arguments: object) -> Peer:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name(script)),
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)])},
        )
        started.append(Peer(process))
        return started[-1]

    yield start
    for peer in started:
        await peer.die()


@pytest.fixture
def tenant_id(acme: Tenant) -> UUID:
    """Alice's."""
    return acme.id


@pytest.fixture
def other_tenant_id(globex: Tenant) -> UUID:
    """Mallory's."""
    return globex.id


@pytest.fixture
async def behind(superuser: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A superuser's connection, to look behind row-level security and to cut others off."""
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        yield connection
