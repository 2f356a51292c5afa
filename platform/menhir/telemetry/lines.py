"""A line in the log for each call that has ended, when `MENHIR_LOG_CALLS` asks for it: who, what, how long, and never what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.conf import settings

from menhir.telemetry import calls

if TYPE_CHECKING:
    from menhir.telemetry.calls import Finished

log = structlog.get_logger("menhir.calls")


class Lines:
    """Writes them while it is started."""

    async def start(self) -> None:
        """Write from now on, when the settings say so."""
        if settings.MENHIR_LOG_CALLS and _write not in calls.watchers:
            calls.watchers.append(_write)

    async def stop(self) -> None:
        """Write no more."""
        if _write in calls.watchers:
            calls.watchers.remove(_write)


def _write(finished: Finished) -> None:
    call = finished.call
    log.info(
        "call.finished",
        request_id=call.request_id,
        call_id=str(call.id),
        parent_id=str(call.parent_id) if call.parent_id is not None else None,
        trace_id=f"{call.trace.trace_id:032x}" if call.trace is not None else None,
        tenant=call.principal.tenant_slug,
        operation=call.operation,
        route=call.route.name if call.route is not None else call.model,
        provider=finished.provider,
        model=finished.upstream_model,
        stream=call.stream,
        outcome=finished.outcome,
        status=finished.status,
        error=finished.error_code,
        ms=round(finished.seconds * 1000, 1),
        overhead_ms=round(finished.overhead * 1000, 2),
        first_token_ms=round(finished.first_token_seconds * 1000) if finished.first_token_seconds is not None else None,
        input_tokens=finished.input_tokens,
        output_tokens=finished.output_tokens,
        attempts=finished.attempts,
    )


lines = Lines()
"""Wiring starts and stops it."""
