"""The rows of the ledger on their way into it: one statement a batch, safe to repeat.

A batch travels as one JSON array and is unfolded by the server. An array for each column (`unnest`), with psycopg's dumpers, took
57 µs of a core for a call opened and settled, and a lone caller waited 0.27 ms; this takes 31 µs and 0.18 ms. Decimals travel as text, so
that no digit is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import psycopg

from menhir.metering import partitions, prices
from menhir.metering.entries import Opening, Settlement
from menhir.postgres import sql
from menhir.postgres.line import Line

INSERT_CALLS = sql.load(__package__, "insert_calls")
INSERT_SETTLEMENTS = sql.load(__package__, "insert_settlements")


async def write_openings(line: Line, openings: Sequence[Opening], *, process_id: UUID) -> None:
    """Commit the openings."""
    await _insert(line, INSERT_CALLS, calls=_json([_call(opening) for opening in openings]), process_id=process_id)


async def write_settlements(line: Line, settlements: Sequence[Settlement]) -> None:
    """Commit the settlements, where a call has none yet."""
    await _insert(line, INSERT_SETTLEMENTS, settlements=_json([_settlement(settlement) for settlement in settlements]))


def _call(opening: Opening) -> dict[str, Any]:
    return {
        "tenant_id": opening.tenant_id,
        "opened_at": opening.opened_at,
        "id": opening.call_id,
        "operation": opening.operation,
        "model": opening.model,
        "route": opening.route,
        "api_key_id": opening.api_key_id,
        "user_id": opening.user_id,
        "assistant_id": opening.assistant_id,
        "prompt_version_id": opening.prompt_version_id,
        "stream": opening.stream,
        "estimate": opening.estimate,
    }


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


def _json(batch: list[dict[str, Any]]) -> str:
    return orjson.dumps(batch, default=str).decode()


async def _insert(line: Line, statement: sql.Statement, **values: object) -> None:
    try:
        await line.run(statement, **values)
    except psycopg.errors.CheckViolation:  # no partition of that day, or a row that will be refused again
        await partitions.make_ahead(line)
        await line.run(statement, **values)
