"""What guardrails found, kept for a while: who, which rule, how often. Never the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import psycopg

from apps.gateway.aside import AsideWriter
from menhir.postgres import partitions, sql
from menhir.postgres.ids import uuid7
from menhir.postgres.line import Line

if TYPE_CHECKING:
    from apps.gateway.call import Call

TABLE = "gateway_guardrailevent"
INSERT_EVENTS = sql.load(__package__, "insert_guardrail_events")


@dataclass(slots=True)
class Note:
    """What one rule found at one stage of one call."""

    guardrail_id: UUID
    guardrail: str
    stage: str
    outcome: str
    counts: dict[str, int]


def keep(call: Call, notes: Iterable[Note]) -> None:
    """Have these notes written, when there is time."""
    at = datetime.now(UTC)
    who = call.principal
    for note in notes:
        writer.offer(
            {
                "tenant_id": who.tenant_id,
                "at": at,
                "id": uuid7(),
                "call_id": call.id,
                "guardrail_id": note.guardrail_id,
                "guardrail": note.guardrail,
                "stage": note.stage,
                "outcome": note.outcome,
                "counts": note.counts,
                "model": call.model,
                "api_key_id": who.key_id,
                "user_id": who.user_id,
                "unit": call.unit,
            }
        )


async def _made(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event)


async def _write(line: Line, events: bytes) -> None:
    try:
        await line.write(INSERT_EVENTS, events=events)
    except psycopg.errors.CheckViolation:  # no partition of that day yet
        await partitions.ensure(line, TABLE)
        await line.write(INSERT_EVENTS, events=events)


writer: AsideWriter[dict[str, Any]] = AsideWriter(_made, _write, name=TABLE)
