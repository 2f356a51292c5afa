"""A socket between us and PostgreSQL that can fall silent without closing, as a firewall does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Wire:
    """Passes on what is said, while `flows` is set."""

    def __init__(self, folder: Path, conninfo: str) -> None:
        parts = conninfo_to_dict(conninfo)
        self.server = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        self.ours = folder / f".s.PGSQL.{parts['port']}"
        self.conninfo = make_conninfo(conninfo, host=str(folder))
        self.flows = asyncio.Event()
        self.flows.set()
        self.pumps: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_unix_connection(self.server)
        for source, target in ((reader, there), (back, writer)):
            pump = asyncio.create_task(self.pump(source, target))
            self.pumps.add(pump)

    async def pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.flows.wait()
                target.write(data)
        finally:
            target.close()


@asynccontextmanager
async def wire_to(conninfo: str, folder: Path) -> AsyncIterator[Wire]:
    """A wire to this server; skips the test unless the server listens on a unix socket."""
    if not str(conninfo_to_dict(conninfo).get("host", "")).startswith("/"):
        pytest.skip("only for a server on a unix socket")
    wire = Wire(Path(os.path.realpath(folder)), conninfo)
    server = await asyncio.start_unix_server(wire.accept, wire.ours)
    try:
        yield wire
    finally:
        server.close()
        for pump in wire.pumps:
            pump.cancel()
        await asyncio.gather(*wire.pumps, return_exceptions=True)
