"""What a settled call tells telemetry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from menhir.telemetry import calls

if TYPE_CHECKING:
    from apps.gateway.call import Call
    from apps.gateway.settle import Outcome, Tally
    from menhir.metering.entries import Usage


def measure(call: Call, tally: Tally, usage: Usage, *, outcome: Outcome, status: int, error_code: str | None, provider: str | None) -> None:
    """Count a call once it is settled; `provider` when it was none of the route's that answered."""
    target = tally.target
    kind = provider or (target.kind if target is not None else "")
    seconds = time.perf_counter() - call.received
    overhead = seconds - tally.waited
    overhead = max(overhead, 0.0)
    calls.finished(
        call.operation if call.parent_id is None else f"{call.operation}_leg",
        outcome,
        kind,
        status,
        seconds=seconds,
        overhead=overhead,
        first_token_ms=tally.first_token_ms,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )
    if calls.watchers:
        said = tally.said
        finished = calls.Finished(
            call=call,
            kind=kind,
            provider=provider or (target.provider if target is not None else ""),
            upstream_model=target.upstream_model if target is not None else "",
            base_url=target.base_url if target is not None and provider is None else "",
            outcome=outcome,
            status=status,
            error_code=error_code,
            seconds=seconds,
            overhead=overhead,
            first_token_seconds=None if tally.first_token_ms is None else tally.first_token_ms / 1000,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            attempts=tally.attempts,
            response_id=said.id if said is not None else None,
            response_model=said.model if said is not None else None,
            finish_reasons=_reasons(call, tally),
        )
        for watcher in calls.watchers:
            watcher(finished)


def _reasons(call: Call, tally: Tally) -> list[Any]:
    """Why each choice ended, in their order, as far as somebody wants to know."""
    if tally.said is None:
        return []
    if call.stream:
        return [reason for _, reason in sorted((tally.finished or {}).items())]
    return [choice.finish_reason for choice in tally.said.choices or ()]
