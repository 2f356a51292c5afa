"""The connection pools of the async plane: `pools.app` under row-level security, `pools.gateway` for the data plane.

Django's own connections come from Django's pool. These here are opened by wiring's lifespan, one set for each process. A connection is
taken for a statement or a short transaction and given back: never held while a model talks.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from menhir.errors import Unavailable
from menhir.postgres.roles import Role, conninfo

WAIT_SECONDS = 5.0
RECONNECT_SECONDS = 3.0
"""After which the pool gives up a connection, to try anew when one is asked for. Its pauses double: left alone, it would stay away after an
outage for as long again as that lasted."""


class Pool:
    """One role's pool; a name for something that is opened later."""

    def __init__(self, role: Role, *, most: int) -> None:
        self.role = role
        self.most = most
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] | None = None

    async def open(self) -> None:
        """Open the pool on the running event loop; its connections come as they are asked for."""
        self._pool = AsyncConnectionPool(
            conninfo(self.role),
            min_size=1,
            max_size=self.most,
            timeout=WAIT_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            kwargs={"autocommit": True},
            check=_look,
            open=False,
            name=f"menhir-{self.role}",
        )
        await self._pool.open()

    async def close(self) -> None:
        """Give the connections back to the server."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @property
    def stats(self) -> dict[str, int]:
        """How many connections there are (`pool_size`), are free (`pool_available`), and how many wait for one (`requests_waiting`)."""
        return self._pool.get_stats() if self._pool is not None else {}

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection in autocommit; raises Unavailable when the database gives none in time."""
        if self._pool is None:
            raise Unavailable("The database pool of this process is not open.")
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, OperationalError) as e:
            raise Unavailable("The database is not answering. Try again shortly.") from e

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[AsyncConnection[Any]]:
        """A transaction in which row-level security shows the rows of one tenant."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute("SELECT menhir.set_tenant(%s)", [tenant_id])
            yield connection


async def _look(connection: AsyncConnection[Any]) -> None:
    """Refuse a connection whose server has gone: there is something to read then, its end. A look costs a thousandth of asking."""
    looking = select.poll()
    looking.register(connection.fileno(), select.POLLIN)
    if looking.poll(0):
        await AsyncConnectionPool.check_connection(connection)


app = Pool("app", most=8)
gateway = Pool("gateway", most=4)


async def open_all() -> None:
    """Open every pool of this process."""
    await app.open()
    await gateway.open()


async def close_all() -> None:
    """Close every pool of this process."""
    await app.close()
    await gateway.close()
