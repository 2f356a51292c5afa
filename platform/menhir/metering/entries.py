"""The two entries of the ledger: a call is opened, and it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

Operation = Literal["chat", "embeddings"]
Outcome = Literal["completed", "failed", "cancelled", "interrupted"]
UsageSource = Literal["upstream", "estimate"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as OpenAI counts them: cached tokens are part of the input, reasoning tokens part of the output.

    `source` says who counted: the upstream itself, or we, from the characters that went by.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "upstream"


NO_USAGE = Usage(input_tokens=0, output_tokens=0)


@dataclass(frozen=True, slots=True)
class Opening:
    """A call that is about to be made. `estimate` (USD) is what it is charged should nobody live to settle it."""

    tenant_id: UUID
    call_id: UUID
    opened_at: datetime
    operation: Operation
    model: str
    route: str
    api_key_id: UUID | None
    user_id: UUID | None
    assistant_id: UUID | None
    prompt_version_id: UUID | None
    stream: bool
    estimate: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a call ended. `tenant_id`, `call_id` and `opened_at` are those of its opening, to the microsecond.

    `tariff` is whose price list `cost` was taken from, empty for what costs nothing: by it a call without a known price is told from a
    free one.
    """

    tenant_id: UUID
    call_id: UUID
    opened_at: datetime
    settled_at: datetime
    outcome: Outcome
    status: int
    provider: str
    upstream_model: str
    attempts: int
    usage: Usage
    cost: Decimal
    first_token_ms: int | None
    latency_ms: int
    error_code: str | None
    tariff: str = ""
