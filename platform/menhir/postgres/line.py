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
from psycopg import AsyncConnection, generators, pq
from psycopg.errors import error_from_result

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
        self._prepared: set[bytes] = set()

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

    async def write(self, statement: Statement, **values: bytes) -> None:
        """Run a statement that gives no rows, its values as PostgreSQL's text.

        It speaks to libpq itself: a cursor, its adapters and its waiting take 60 µs of a core for each statement, and this 27.
        """
        async with self.connection() as connection:
            pgconn, name = connection.pgconn, statement.name.encode()
            if name not in self._prepared:
                pgconn.send_prepare(name, statement.text.encode())
                await _accepted(connection)
                self._prepared.add(name)
            pgconn.send_query_prepared(name, statement.ordered(values))
            await _accepted(connection)

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
                self._prepared.clear()
            connection = self._connection
        try:
            yield connection
        except BaseException:
            await self.close()
            raise


async def _accepted(connection: AsyncConnection[Any]) -> None:
    """Wait until the server has done what was sent; raise what it says against it."""
    pgconn = connection.pgconn
    if pgconn.flush():  # more than the socket takes at once
        results = await connection.wait(generators.execute(pgconn))
    else:
        await _readable(pgconn)
        results = []
        while (result := pgconn.get_result()) is not None:
            results.append(result)
    if not results:
        raise psycopg.OperationalError("the connection to the server is lost")
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            # What has no code was said by libpq itself, of the connection.
            if not result.error_field(pq.DiagnosticField.SQLSTATE):
                raise psycopg.OperationalError(result.get_error_message())
            raise error_from_result(result, encoding=connection.info.encoding)


async def _readable(pgconn: pq.abc.PGconn) -> None:
    """Wait until libpq has read a whole answer."""
    loop = asyncio.get_running_loop()
    whole: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            pgconn.consume_input()
            if not pgconn.is_busy() and not whole.done():
                whole.set_result(None)
        except psycopg.Error as error:
            loop.remove_reader(descriptor)
            if not whole.done():
                whole.set_exception(error)

    descriptor = pgconn.socket
    loop.add_reader(descriptor, read)
    try:
        await whole
    finally:
        loop.remove_reader(descriptor)
