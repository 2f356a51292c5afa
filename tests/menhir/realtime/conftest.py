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

from menhir.postgres import pools, roles
from menhir.postgres.ids import uuid7
from menhir.postgres.listener import Listener
from menhir.realtime.journal import Journal

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
