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
        self._ear: _Ear | None = None

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

        It speaks to libpq itself: a cursor, its adapters and its waiting take three times as long.
        """
        async with self._connected() as connection:
            pgconn, name = connection.pgconn, statement.name.encode()
            if name not in self._prepared:
                pgconn.send_prepare(name, statement.text.encode())
                await self._accepted(connection)
                self._prepared.add(name)
            pgconn.send_query_prepared(name, statement.ordered(values))
            await self._accepted(connection)

    async def _accepted(self, connection: AsyncConnection[Any]) -> None:
        """Wait until the server has done what was sent; raise what it says against it."""
        pgconn = connection.pgconn
        if pgconn.flush():  # more than the socket takes at once
            self._hear_nothing()  # psycopg listens itself
            results = await connection.wait(generators.execute(pgconn))
        else:
            if self._ear is None:
                self._ear = _Ear(pgconn)
            await self._ear.answered()
            results = []
            while (result := pgconn.get_result()) is not None:
                results.append(result)
        _accept(results, connection.info.encoding)

    def _hear_nothing(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    async def close(self) -> None:
        """Give the connection back to the server; the next use makes a new one."""
        self._hear_nothing()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """The connection, which is closed should the block fail: nobody knows then what state it is in."""
        async with self._connected() as connection:
            self._hear_nothing()  # psycopg listens itself: two readers of one socket would take turns at taking each other's place
            yield connection

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                self._hear_nothing()
                # Every statement of a line is one of a few, run for ever: prepared at its first use.
                self._connection = await AsyncConnection.connect(conninfo(self._role), autocommit=True, prepare_threshold=0)
                self._prepared.clear()
            connection = self._connection
        try:
            yield connection
        except BaseException:
            await self.close()
            raise


class _Ear:
    """Hears when libpq has an answer. It listens for as long as the connection lives: to begin and to end that for each statement took
    nine system calls, which a lone caller waits for twice.
    """

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn
        self._loop = asyncio.get_running_loop()
        self._whole: asyncio.Future[None] | None = None
        self._socket: int | None = pgconn.socket
        self._loop.add_reader(self._socket, self._hear)

    def close(self) -> None:
        """Listen no more. Twice does nothing: the socket's number may be another's by then."""
        socket, self._socket = self._socket, None
        if socket is not None and not self._loop.is_closed():
            self._loop.remove_reader(socket)

    async def answered(self) -> None:
        """Return when a whole answer is read. Raises OperationalError when the connection breaks."""
        self._whole = self._loop.create_future()
        try:
            await self._whole
        finally:
            self._whole = None

    def _hear(self) -> None:
        whole = self._whole
        try:
            self._pgconn.consume_input()
            if whole is not None and not whole.done() and not self._pgconn.is_busy():
                whole.set_result(None)
        except psycopg.Error as error:
            self.close()  # it would be readable for ever
            if whole is not None and not whole.done():
                whole.set_exception(error)


def _accept(results: list[pq.abc.PGresult], encoding: str) -> None:
    """Raise what the server says against a statement."""
    if not results:
        raise psycopg.OperationalError("the connection to the server is lost")
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            # What has no code was said by libpq itself, of the connection.
            if not result.error_field(pq.DiagnosticField.SQLSTATE):
                raise psycopg.OperationalError(result.get_error_message())
            raise error_from_result(result, encoding=encoding)
