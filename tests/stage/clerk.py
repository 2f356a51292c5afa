"""Writes into the ledger as the data plane does: calls, how they ended, what was said in them, what guardrails found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

import orjson

from apps.gateway.capture import writing
from apps.gateway.guardrails import events
from menhir.metering.entries import Opening, Settlement, Usage
from menhir.metering.ledger import Ledger
from menhir.metering.notes import Note
from menhir.postgres.ids import uuid7

KEPT_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Clerk:
    """Calls of one tenant, made with one key unless something else is said."""

    tenant_id: UUID
    key_id: UUID
    ledger: Ledger

    @classmethod
    @asynccontextmanager
    async def at_work(cls, tenant_id: UUID, key_id: UUID) -> AsyncIterator[Self]:
        """One whose ledger is open until the block ends."""
        ledger = Ledger()
        await ledger.start()
        writing.writer.start()
        events.writer.start()
        try:
            yield cls(tenant_id, key_id, ledger)
        finally:
            await events.writer.stop()
            await writing.writer.stop()
            await ledger.stop()

    async def open(self, *, minutes: float = 0, model: str = "small", key_id: UUID | str | None = "", **fields: Any) -> Opening:
        """A call that came in so many minutes ago."""
        given = {"user_id": None, "assistant_id": None, "prompt_version_id": None, "stream": False, **fields}
        opening = Opening(
            tenant_id=self.tenant_id,
            call_id=uuid7(),
            opened_at=datetime.now(UTC) - timedelta(minutes=minutes),
            operation="chat",
            model=model,
            route="small",
            api_key_id=self.key_id if key_id == "" else key_id,
            estimate=Decimal("0.02"),
            **given,
        )
        await self.ledger.open(opening)
        return opening

    async def settle(self, opening: Opening, *, outcome: Any = "completed", status: int = 200, **fields: Any) -> None:
        """How it ended: well, unless something else is said."""
        given = {"error_code": None, "usage": Usage(1234, 56), "first_token_ms": 210, **fields}
        await self.ledger.settle(
            Settlement(
                tenant_id=opening.tenant_id,
                call_id=opening.call_id,
                opened_at=opening.opened_at,
                settled_at=opening.opened_at + timedelta(seconds=2),
                outcome=outcome,
                status=status,
                provider="far",
                upstream_model="small-1",
                attempts=2,
                cost=Decimal("0.0123"),
                latency_ms=1900,
                **given,
            )
        )

    async def note(self, *, minutes: float = 0) -> UUID:
        """A call that the cache answered."""
        at, call_id = datetime.now(UTC) - timedelta(minutes=minutes), uuid7()
        self.ledger.note(
            Note(
                tenant_id=self.tenant_id,
                call_id=call_id,
                opened_at=at,
                settled_at=at,
                operation="chat",
                model="small",
                route="small",
                api_key_id=self.key_id,
                user_id=None,
                assistant_id=None,
                prompt_version_id=None,
                stream=False,
                upstream_model="small-1",
                latency_ms=1,
            )
        )
        await self.ledger.noted()
        return call_id

    async def keep(self, opening: Opening, *, request: Any, answer: Any) -> None:
        """What was said in it."""
        writing.writer.offer(
            writing.Taken(
                tenant_id=opening.tenant_id,
                call_id=opening.call_id,
                opened_at=opening.opened_at,
                keep_until=opening.opened_at + KEPT_FOR,
                request=orjson.dumps(request),
                answer=orjson.dumps(answer),
                stream=False,
                truncated=False,
                finder=None,
            )
        )
        await writing.writer.written()

    async def find(self, opening: Opening, *, guardrail: str, outcome: str, counts: dict[str, int]) -> None:
        """What a guardrail found in it."""
        events.writer.offer(
            {
                "tenant_id": opening.tenant_id,
                "at": opening.opened_at + timedelta(milliseconds=5),
                "id": uuid7(),
                "call_id": opening.call_id,
                "guardrail_id": uuid7(),
                "guardrail": guardrail,
                "stage": "before",
                "outcome": outcome,
                "counts": counts,
                "model": opening.model,
                "api_key_id": opening.api_key_id,
                "user_id": opening.user_id,
                "unit": opening.unit,
            }
        )
        await events.writer.written()
