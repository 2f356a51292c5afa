"""A dry run: what guardrails would do with a text, without a call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from asgiref.sync import async_to_sync

from apps.gateway.call import Call
from apps.gateway.errors import GuardrailError
from apps.gateway.guardrails.events import Note
from apps.gateway.guardrails.guard import Guard, guard_of
from apps.gateway.guardrails.guarding import CallGuard
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.guardrails.places import Place
from menhir.postgres.ids import uuid7
from menhir.tenancy.models import Tenant
from menhir.tenancy.principal import Principal


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    text: str
    blocked_by: str | None
    notes: Sequence[Note]
    skipped: list[str]


def try_text(tenant: Tenant, text: str, *, stage: Literal["before", "after"], only: Guardrail | None = None, by: Principal) -> Tried:
    """Try a text on a tenant's guardrails that are switched on, or on one of them, on or off; runs inside the tenant's transaction."""
    chosen = [only] if only is not None else list(Guardrail.objects.within(tenant).filter(enabled=True))
    return async_to_sync(trial)([guard_of(guardrail) for guardrail in chosen], text, stage=stage, by=by)


async def trial(guards: Sequence[Guard], text: str, *, stage: Literal["before", "after"], by: Principal) -> Tried:
    """Ask those that can be asked here, in order. One that blocks is the last."""
    asked = [guard for guard in guards if (guard.before if stage == "before" else guard.after) and not guard.is_remote]
    asked = [guard for guard in asked if guard.kind != "models"]
    skipped = [guard.name for guard in guards if guard not in asked]
    holder = {"text": text}
    guard = CallGuard(_call(by), asked)
    blocked_by = None
    try:
        await guard.check(asked, [Place(holder, "text")], stage)
    except GuardrailError as e:
        blocked_by = e.guardrail
    return Tried(text=text if blocked_by else holder["text"], blocked_by=blocked_by, notes=guard.notes, skipped=skipped)


def _call(by: Principal) -> Call:
    return Call(
        id=uuid7(),
        request_id="",
        principal=by,
        operation="chat",
        received=time.perf_counter(),
        opened_at=datetime.now(UTC),
        model="",
        body={},
        raw=None,
        stream=False,
        wants_usage=False,
    )
