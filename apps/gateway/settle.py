"""What a call has come to: its usage, its cost, its outcome, written before the client's last byte.

Usage is the upstream's word where it gave one, an explicit zero included; else it is estimated from characters, and
says so. What was generated is billed, whether the client stayed to read it or not.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from apps.gateway.holding import user_of
from apps.gateway.measuring import measure
from apps.gateway.weighing import characters_asked, max_output_tokens
from menhir.metering import prices, tokens
from menhir.metering.entries import NO_USAGE
from menhir.metering.ledger import Opening, Settlement, Usage, ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget
    from apps.gateway.wire import Chunk

Outcome = Literal["completed", "failed", "cancelled", "interrupted"]

NOTHING = Decimal(0)
HUNG_UP_STATUS = 499
"""nginx's word for a client that closed the connection; it stands in the ledger only."""
INTERNAL_STATUS = 500


class Tally(msgspec.Struct):
    """What is known of a call so far."""

    target: ResolvedTarget | None = None
    """The one that answered, or was asked last."""
    attempts: int = 0
    taken: bool = False
    """An upstream took the request and may have worked on it: from here on it costs, even when nothing comes back."""
    usage: Usage | None = None
    characters: int = 0
    """Generated so far."""
    first_token_ms: int | None = None
    finished: Mapping[int, Any] | None = None
    """Why each choice of a stream ended, by its index."""
    said: Chunk | None = None
    """The first of a stream, or a whole answer, where a trace is kept of the call."""
    waited: float = 0.0
    """Seconds spent waiting for upstreams; the rest of the time is our own."""
    asked: float = 0.0
    """`time.perf_counter()` when the last one was."""
    elsewhere: bool = False
    """Another target can be asked when this one has nothing to say."""
    filtered: bool = False
    """The target's own filter ended its answer before anything was said."""


async def open_call(call: Call, route: ResolvedRoute, *, target: ResolvedTarget | None = None) -> None:
    """Commit the row that opens the call, with what it may cost at most likely. No upstream is asked before.

    `target` is who will be asked, where it is known; else it may become the dearest.
    """
    targets = route.targets if target is None else (target,)
    estimate = estimate_at(targets[0], call) if len(targets) == 1 else max((estimate_at(one, call) for one in targets), default=NOTHING)
    await ledger.open(
        Opening(
            tenant_id=call.principal.tenant_id,
            call_id=call.id,
            opened_at=call.opened_at,
            operation=call.operation,
            model=call.model,
            route=route.name,
            api_key_id=call.principal.key_id,
            user_id=call.principal.user_id,
            assistant_id=call.assistant_id,
            prompt_version_id=call.prompt_version_id,
            stream=call.stream,
            estimate=estimate,
            parent_id=call.parent_id,
            unit=user_of(call),
        )
    )


def estimate_at(target: ResolvedTarget, call: Call) -> Decimal:
    """USD that a call may cost at one target."""
    if not target.costs:
        return NOTHING
    return prices.estimate(
        provider=target.tariff,
        model=target.upstream_model,
        input_characters=characters_asked(call),
        max_output_tokens=max_output_tokens(call.body),
        at=call.opened_at,
        own=target.price,
    )


async def settle(
    call: Call, tally: Tally, *, outcome: Outcome, status: int, error_code: str | None = None, provider: str | None = None
) -> Decimal:
    """Commit the row that settles the call, and give its cost in USD."""
    call.completed = outcome == "completed"
    call.error_code = error_code
    if call.guard is not None:
        call.guard.report()
    target = tally.target
    at = datetime.now(UTC)
    usage, cost = bill(call, tally, at=at)
    if call.hold is not None:
        if tally.attempts:
            call.hold.settle(tokens=usage.input_tokens + usage.output_tokens, cost=cost)
        else:
            call.hold.release()
    await ledger.settle(
        Settlement(
            tenant_id=call.principal.tenant_id,
            call_id=call.id,
            opened_at=call.opened_at,
            settled_at=at,
            outcome=outcome,
            status=status,
            provider=provider or (target.provider if target is not None else ""),
            upstream_model=target.upstream_model if target is not None else "",
            attempts=tally.attempts,
            usage=usage,
            cost=cost,
            first_token_ms=tally.first_token_ms,
            latency_ms=milliseconds_since(call.received),
            error_code=error_code,
            tariff=target.tariff if target is not None and target.price is None else "",
        )
    )
    measure(call, tally, usage, outcome=outcome, status=status, error_code=error_code, provider=provider)
    return cost


def bill(call: Call, tally: Tally, *, at: datetime) -> tuple[Usage, Decimal]:
    """Give what was used and what that costs in USD."""
    target = tally.target
    usage = tally.usage or _estimated(call, tally)
    if target is None or not target.costs or not (usage.input_tokens or usage.output_tokens):
        return usage, NOTHING
    return usage, prices.cost(provider=target.tariff, model=target.upstream_model, usage=usage, at=at, own=target.price)


def milliseconds_since(start: float) -> int:
    """Whole milliseconds since a reading of `time.perf_counter()`."""
    return int((time.perf_counter() - start) * 1000)


def _estimated(call: Call, tally: Tally) -> Usage:
    if not tally.taken:
        return NO_USAGE
    return Usage(
        input_tokens=tokens.of_characters(characters_asked(call)),
        output_tokens=tokens.of_characters(tally.characters),
        source="estimate",
    )
