"""Where one event loop reads and writes messages: a connection that closes when it was idle for long, or when the loop ends.

Views may send from a short-lived loop of their own (`async_to_sync`), for which no pool is open.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog

from menhir.errors import Unavailable
from menhir.postgres import sql
from menhir.postgres.line import AWAY, Line
from menhir.postgres.sql import Statement

IDLE_SECONDS = 30.0
STATEMENT_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.1
PRUNE_EVERY_SECONDS = 30.0
MOST_PER_POST = 200

POST = sql.load(__package__, "post")
PRUNE = sql.load(__package__, "prune_messages")

log = structlog.get_logger(__name__)


class Letter(NamedTuple):
    """A message on its way to the table."""

    id: UUID
    target: str
    work: bool
    body: bytes
    bell: str


class Desk:
    """The messages' way to and from the database, for one event loop."""

    def __init__(self, *, expiry_seconds: float) -> None:
        self._expiry_seconds = expiry_seconds
        self._loop = asyncio.get_running_loop()
        self._line = Line("app")
        self._used = 0.0
        self._keeping: asyncio.Task[None] | None = None
        self._posting: asyncio.Task[None] | None = None
        self._outgoing: deque[tuple[Letter, asyncio.Future[None]]] = deque()
        self._pruned = self._loop.time()

    async def all(self, statement: Statement, **values: object) -> list[Any]:
        """Every row; raises what is AWAY when the database is."""
        self._keep()
        async with asyncio.timeout(STATEMENT_SECONDS):
            return await self._line.all(statement, **values)

    async def run(self, statement: Statement, **values: object) -> int:
        """How many rows were touched."""
        self._keep()
        async with asyncio.timeout(STATEMENT_SECONDS):
            return await self._line.run(statement, **values)

    async def post(self, letter: Letter) -> None:
        """Return once the message is left and rung for; those who post meanwhile share a commit, in the order of their coming.

        Raises Unavailable when the database stays away for 5 seconds.
        """
        done = self._loop.create_future()
        self._outgoing.append((letter, done))
        if self._posting is None:
            self._posting = self._loop.create_task(self._post(), name="layer posting")
        await done

    async def _post(self) -> None:
        try:
            while self._outgoing:
                batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), MOST_PER_POST))]
                error = await self._write([letter for letter, _ in batch])
                for _, done in batch:
                    if done.done():
                        continue
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
            await self._prune()
        finally:
            self._posting = None

    async def _write(self, letters: list[Letter]) -> Exception | None:
        began = self._loop.time()
        away = False
        while True:
            try:
                await self.all(
                    POST,
                    ids=[letter.id for letter in letters],
                    targets=[letter.target for letter in letters],
                    works=[letter.work for letter in letters],
                    bodies=[letter.body for letter in letters],
                    bells=[letter.bell for letter in letters],
                    expiry_seconds=self._expiry_seconds,
                )
            except AWAY as error:
                if not away:
                    log.warning("layer.away", messages=len(letters), error=str(error).strip())
                    away = True
                if self._loop.time() >= began + PATIENCE_SECONDS:
                    return Unavailable("Messages cannot be sent at the moment.")
                await asyncio.sleep(PAUSE_SECONDS)
            except (psycopg.Error, RuntimeError) as error:
                return error
            else:
                return None

    async def _prune(self) -> None:
        """Whoever sends cleans up: with nobody sending there is nothing to clean."""
        if self._loop.time() - self._pruned >= PRUNE_EVERY_SECONDS:
            self._pruned = self._loop.time()
            try:
                await self.run(PRUNE)
            except (*AWAY, psycopg.Error) as error:
                log.warning("layer.unpruned", error=str(error).strip())

    def _keep(self) -> None:
        self._used = time.monotonic()
        if self._keeping is None:
            self._keeping = self._loop.create_task(self._close_when_idle(), name="layer desk")

    async def _close_when_idle(self) -> None:
        try:
            while True:
                left = self._used + IDLE_SECONDS - time.monotonic()
                if left <= 0:
                    return
                await asyncio.sleep(left)
        finally:
            self._keeping = None
            await self._line.close()
