"""The rows of the ledger on their way into it: one statement a batch, safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import psycopg

from menhir.metering import partitions, prices
from menhir.metering.entries import Opening, Settlement
from menhir.postgres import sql
from menhir.postgres.line import Line

INSERT_CALLS = sql.load(__package__, "insert_calls")
INSERT_SETTLEMENTS = sql.load(__package__, "insert_settlements")


async def write_openings(line: Line, openings: Sequence[Opening], *, process_id: UUID) -> None:
    """Commit the openings; safe to repeat."""
    await _insert(
        line,
        INSERT_CALLS,
        tenant_id=[row.tenant_id for row in openings],
        id=[row.call_id for row in openings],
        opened=[row.opened_at for row in openings],
        process_id=process_id,
        operation=[row.operation for row in openings],
        model=[row.model for row in openings],
        route=[row.route for row in openings],
        api_key_id=[row.api_key_id for row in openings],
        user_id=[row.user_id for row in openings],
        assistant_id=[row.assistant_id for row in openings],
        prompt_version_id=[row.prompt_version_id for row in openings],
        stream=[row.stream for row in openings],
        estimate=[row.estimate for row in openings],
    )


async def write_settlements(line: Line, settlements: Sequence[Settlement]) -> None:
    """Commit the settlements, where a call has none yet; safe to repeat."""
    usages = [row.usage for row in settlements]
    await _insert(
        line,
        INSERT_SETTLEMENTS,
        tenant_id=[row.tenant_id for row in settlements],
        id=[row.call_id for row in settlements],
        opened=[row.opened_at for row in settlements],
        settled_at=[row.settled_at for row in settlements],
        outcome=[row.outcome for row in settlements],
        status=[row.status for row in settlements],
        provider=[row.provider for row in settlements],
        upstream_model=[row.upstream_model for row in settlements],
        attempts=[row.attempts for row in settlements],
        input_tokens=[usage.input_tokens for usage in usages],
        output_tokens=[usage.output_tokens for usage in usages],
        cached_input_tokens=[usage.cached_input_tokens for usage in usages],
        reasoning_tokens=[usage.reasoning_tokens for usage in usages],
        usage_source=[usage.source for usage in usages],
        cost=[row.cost for row in settlements],
        priced=[not row.tariff or prices.known(provider=row.tariff, model=row.upstream_model) for row in settlements],
        first_token_ms=[row.first_token_ms for row in settlements],
        latency_ms=[row.latency_ms for row in settlements],
        error_code=[row.error_code for row in settlements],
    )


async def _insert(line: Line, statement: sql.Statement, *, opened: Sequence[datetime], **values: object) -> None:
    try:
        await line.run(statement, opened_at=opened, **values)
    except psycopg.errors.CheckViolation:  # no partition of that day, or a row that will be refused again
        await partitions.make_ahead(line)
        await line.run(statement, opened_at=opened, **values)
