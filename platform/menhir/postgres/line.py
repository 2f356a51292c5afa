"""One connection that belongs to one task, for what must neither queue behind others nor wait for a pool to recover.

After a database restart a pool hands out one stale connection after the other and retries at growing intervals. A line is made anew
at its next use, which for a heartbeat is the difference between alive and buried.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

from menhir.postgres.roles import Role, conninfo
from menhir.postgres.sql import Statement

AWAY = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError)
"""What a statement raises when the database is away, restarting, or cut us off: the same may be tried again."""


class Line:
    """A connection in autocommit, made when it is first needed and made anew after any error."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._connection: AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()

    async def run(self, statement: Statement, **values: object) -> int:
        """How many rows the statement touched."""
        async with self.connection() as connection:
            return await statement.run(connection, **values)

    async def one(self, statement: Statement, **values: object) -> Any | None:
        """The first row, or None."""
        async with self.connection() as connection:
            return await statement.one(connection, **values)

    async def all(self, statement: Statement, **values: object) -> list[Any]:
        """Every row."""
        async with self.connection() as connection:
            return await statement.all(connection, **values)

    async def close(self) -> None:
        """Give the connection back to the server; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """The connection, which is closed should the block fail: nobody knows then what state it is in."""
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                # Every statement of a line is one of a few, run for ever: prepared at its first use.
                self._connection = await AsyncConnection.connect(conninfo(self._role), autocommit=True, prepare_threshold=0)
            connection = self._connection
        try:
            yield connection
        except BaseException:
            await self.close()
            raise
