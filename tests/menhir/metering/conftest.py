"""Calls to open and settle, as a gateway would, and a look behind row-level security."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from menhir.metering.entries import Opening, Settlement, Usage
from menhir.metering.ledger import Ledger
from menhir.postgres.ids import uuid7


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
