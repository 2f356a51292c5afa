"""One connection as `menhir_gateway` that belongs to one writer alone.

Not out of the pool: a commit that a client waits for must not queue behind somebody's reading of configuration, and after a database
restart a pool hands out one stale connection after the other, which for a heartbeat is the difference between alive and buried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from menhir.postgres.roles import conninfo
from menhir.postgres.sql import Statement


class Line:
    """A connection in autocommit, made when it is first needed and made anew after any error."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def run(self, statement: Statement, **values: object) -> int:
        """How many rows the statement touched."""
        async with self._guarded() as connection:
            return await statement.run(connection, **values)

    async def one(self, statement: Statement, **values: object) -> Any:
        """The first row, or None."""
        async with self._guarded() as connection:
            return await statement.one(connection, **values)

    async def close(self) -> None:
        """Give the connection back to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        if self._connection is None or self._connection.closed:
            # Every statement of a line is one of a few, run for ever: prepared at its first use.
            self._connection = await psycopg.AsyncConnection.connect(conninfo("gateway"), autocommit=True, prepare_threshold=0)
        try:
            yield self._connection
        except BaseException:
            await self.close()
            raise


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """A line for a moment."""
    own = Line()
    try:
        yield own
    finally:
        await own.close()
