"""The rows of the ledger on their way into it: one statement a batch, safe to repeat.

A batch travels as a JSON array for each table, straight through libpq, and is unfolded by the server. An array for each column
(`unnest`), with psycopg's dumpers, took twice the time. Decimals travel as text, so that no digit is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from menhir.metering import partitions, prices
from menhir.metering.entries import Opening, Settlement
from menhir.metering.notes import Note
from menhir.postgres import sql
from menhir.postgres.line import Line

INSERT_ENTRIES = sql.load(__package__, "insert_entries")
INSERT_NOTES = sql.load(__package__, "insert_notes")

_encode = msgspec.json.Encoder(decimal_format="string").encode


async def write(line: Line, openings: Sequence[Opening], settlements: Sequence[Settlement], *, process_id: UUID) -> None:
    """Commit the openings, and the settlements of calls that have none yet."""
    values = {
        "openings": _encode(openings),
        "settlements": _encode([_settlement(settlement) for settlement in settlements]),
        "process_id": str(process_id).encode(),
    }
    await _insert(line, INSERT_ENTRIES, **values)


async def write_notes(line: Line, notes: Sequence[Note], *, process_id: UUID) -> None:
    """Commit calls that were answered without an upstream."""
    await _insert(line, INSERT_NOTES, notes=_encode(notes), process_id=str(process_id).encode())


async def _insert(line: Line, statement: sql.Statement, **values: bytes) -> None:
    try:
        await line.write(statement, **values)
    except psycopg.errors.CheckViolation:  # no partition of that day, or a row that will be refused again
        await partitions.make_ahead(line)
        await line.write(statement, **values)


def _settlement(settlement: Settlement) -> dict[str, Any]:
    usage, tariff = settlement.usage, settlement.tariff
    return {
        "tenant_id": settlement.tenant_id,
        "opened_at": settlement.opened_at,
        "id": settlement.call_id,
        "settled_at": settlement.settled_at,
        "outcome": settlement.outcome,
        "status": settlement.status,
        "provider": settlement.provider,
        "upstream_model": settlement.upstream_model,
        "attempts": settlement.attempts,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_source": usage.source,
        "cost": settlement.cost,
        "priced": not tariff or prices.known(provider=tariff, model=settlement.upstream_model),
        "first_token_ms": settlement.first_token_ms,
        "latency_ms": settlement.latency_ms,
        "error_code": settlement.error_code,
    }
