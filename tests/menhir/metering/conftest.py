"""Calls to open and settle, as a gateway would, and a look behind row-level security."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from asgiref.sync import sync_to_async
from psycopg.rows import namedtuple_row

from menhir.metering.entries import Opening, Settlement, Usage
from menhir.metering.ledger import Ledger
from menhir.metering.limits import Limits
from menhir.metering.limits.models import Limit
from menhir.postgres import pools
from menhir.postgres.ids import uuid7
from menhir.postgres.listener import listener
from menhir.tenancy.transaction import tenant_transaction


@pytest.fixture
def days(superuser):
    """Makes the partitions of days long past or far ahead, as only the tables' owner may."""

    def make(first, last):
        with psycopg.connect(superuser, autocommit=True) as connection:
            for at in range((last - first).days + 1):
                day = first + timedelta(days=at)
                for table in ("metering_call", "metering_settlement"):
                    connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                    )

    return make


@pytest.fixture
def opening():
    """Makes a call of a tenant, with changes."""
    return _opening


@pytest.fixture
def settlement():
    """Makes the settlement of a call, with changes."""
    return _settlement


@pytest.fixture
async def ledger():
    """A ledger of its own, started and stopped as wiring does."""
    own = Ledger()
    await own.start()
    yield own
    await own.stop()


@pytest.fixture
def look(superuser):
    """The rows behind row-level security."""

    def rows(statement, *values):
        with psycopg.connect(superuser, row_factory=namedtuple_row) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    return rows


def _opening(tenant_id: UUID, **changes: Any) -> Opening:
    call = Opening(
        tenant_id=tenant_id,
        call_id=uuid7(),
        opened_at=datetime.now(UTC),
        operation="chat",
        model="gpt-4o-mini",
        route="gpt-4o-mini",
        api_key_id=None,
        user_id=None,
        assistant_id=None,
        prompt_version_id=None,
        stream=False,
        estimate=Decimal("0.0042"),
    )
    return msgspec.structs.replace(call, **changes)


def _settlement(call: Opening, **changes: Any) -> Settlement:
    settled = Settlement(
        tenant_id=call.tenant_id,
        call_id=call.call_id,
        opened_at=call.opened_at,
        settled_at=datetime.now(UTC),
        outcome="completed",
        status=200,
        provider="openai",
        upstream_model="gpt-4o-mini",
        attempts=1,
        usage=Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400),
        cost=Decimal("0.000180"),
        first_token_ms=120,
        latency_ms=900,
        error_code=None,
    )
    return msgspec.structs.replace(settled, **changes)


class Spenders:
    """Processes that spend (`spender.py`), each with a line to it."""

    def __init__(self, folder):
        self.path = str(folder / "spenders")
        self.lines = []
        self.known = []

    async def start(self, children, *, patience="5"):
        everybody = asyncio.Event()

        async def arrived(reader, writer):
            self.known.append(json.loads(await reader.readline()))
            self.lines.append((reader, writer))
            if len(self.lines) == children:
                everybody.set()

        self.server = await asyncio.start_unix_server(arrived, self.path)
        program = Path(__file__).with_name("spender.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), self.path, str(children), env={**os.environ, "SPENDER_PATIENCE": patience}
        )
        async with asyncio.timeout(60):
            await everybody.wait()
        return self

    async def tell(self, number, **order):
        """Have one do something, and wait for it."""
        reader, writer = self.lines[number]
        writer.write(json.dumps(order).encode() + b"\n")
        return json.loads(await reader.readline())

    async def every(self, **order):
        return await asyncio.gather(*(self.tell(number, **order) for number in range(len(self.lines))))

    def kill(self, number):
        os.kill(self.known[number]["pid"], signal.SIGKILL)

    async def stop(self):
        for _reader, writer in self.lines:
            writer.close()
        self.server.close()
        async with asyncio.timeout(30):
            await self.process.wait()


@pytest.fixture
async def spenders(tmp_path):
    """Starts so many processes that spend."""
    made = Spenders(tmp_path)
    yield made.start
    await made.stop()


@pytest.fixture
def limit():
    """Sets a limit of a tenant."""

    def make(tenant, subject="tenant", subject_id="", *, metric="requests", period="minute", amount=10):
        with tenant_transaction(tenant):
            return Limit.set(tenant, subject=subject, subject_id=subject_id, metric=metric, period=period, amount=Decimal(str(amount)))

    return sync_to_async(make)


@pytest.fixture
async def house(ledger):
    """What else a process with limits has."""
    await pools.open_all()
    await listener.start()
    yield
    await listener.stop()
    await pools.close_all()


@pytest.fixture
async def limits(ledger, house):
    """The limits of a process, started and stopped as wiring does."""
    own = Limits(lambda: ledger.process_id)
    await own.start()
    yield own
    await own.stop()


@pytest.fixture
def tenants(acme):
    """Sets a limit, each time of a fresh user: for tests that need many."""
    made = iter(range(10**6))

    def make(metric, period, amount):
        with tenant_transaction(acme):
            return Limit.set(acme, subject="user", subject_id=f"user {next(made)}", metric=metric, period=period, amount=Decimal(amount))

    return make
