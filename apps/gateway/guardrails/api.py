"""`/api/v1/guardrails`: rules, a dry run, and what they found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from django.http import HttpResponse
from ninja import Query, Router, Status

from apps.gateway.cursor import Cursor
from apps.gateway.guardrails.models import Guardrail, GuardrailEvent
from apps.gateway.guardrails.shapes import (
    CheckedOut,
    CheckIn,
    CheckOut,
    EventOut,
    EventPage,
    GuardrailChange,
    GuardrailIn,
    GuardrailOut,
    GuardrailPage,
    Word,
)
from apps.gateway.guardrails.trial import try_text
from menhir.errors import NotFound
from menhir.tenancy.http import TenantRequest, in_tenant, needs

WRITE: Final = needs("guardrails:write")
DEFAULT_DAYS: Final = 7
MOST_EVENTS: Final = 200

router = Router(tags=["guardrails"])
router.add_decorator(in_tenant, mode="operation")


class UnknownGuardrail(NotFound):
    """There is no such guardrail."""

    code = "guardrail_not_found"


@router.get("/guardrails", response=GuardrailPage, auth=WRITE)
def list_guardrails(request: TenantRequest) -> GuardrailPage:
    """List the guardrails."""
    return GuardrailPage(guardrails=[GuardrailOut.of(guardrail) for guardrail in Guardrail.objects.within(request.tenant)])


@router.post("/guardrails", response={201: GuardrailOut}, auth=WRITE)
def create_guardrail(request: TenantRequest, body: GuardrailIn) -> Status[GuardrailOut]:
    """Make a guardrail; it watches from the next call on. The secret of a webhook is shown here, once."""
    guardrail, secret = Guardrail.create(request.tenant, by=request.principal, **body.model_dump())
    return Status(201, GuardrailOut.of(guardrail, secret=secret))


@router.post("/guardrails/check", response=CheckOut, auth=WRITE)
def check_text(request: TenantRequest, body: CheckIn) -> CheckOut:
    """Try a text on the guardrails (or on one of them): nothing is called, and nothing is kept."""
    only = _guardrail(request, body.guardrail) if body.guardrail is not None else None
    tried = try_text(request.tenant, body.text, stage=body.stage, only=only, by=request.principal)
    return CheckOut(
        verdict="block" if tried.blocked_by is not None else "allow",
        blocked_by=tried.blocked_by,
        text=tried.text,
        found=[CheckedOut(guardrail=note.guardrail, outcome=note.outcome, counts=note.counts) for note in tried.notes],
        skipped=tried.skipped,
    )


@router.get("/guardrails/events", response=EventPage, auth=WRITE)
def list_events(
    request: TenantRequest,
    guardrail: Word | None = None,
    since: Annotated[datetime | None, Query(description="7 days ago when left out")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 50,
    cursor: str | None = None,
) -> EventPage:
    """List what guardrails found, newest first: who, which rule, how often. The text is not kept here."""
    found = GuardrailEvent.objects.within(request.tenant).filter(at__gte=since or datetime.now(UTC) - timedelta(days=DEFAULT_DAYS))
    if guardrail is not None:
        found = found.filter(guardrail=guardrail)
    if cursor is not None:
        found = found.filter(Cursor.read(cursor).after("at"))
    page = list(found.order_by("-at", "-id")[: limit + 1])
    shown = page[:limit]
    return EventPage(
        events=[EventOut.of(event) for event in shown],
        next=str(Cursor(shown[-1].at, shown[-1].id)) if len(page) > limit else None,
    )


@router.get("/guardrails/{name}", response=GuardrailOut, auth=WRITE)
def get_guardrail(request: TenantRequest, name: str) -> GuardrailOut:
    """Show one guardrail."""
    return GuardrailOut.of(_guardrail(request, name))


@router.patch("/guardrails/{name}", response=GuardrailOut, auth=WRITE)
def change_guardrail(request: TenantRequest, name: str, body: GuardrailChange) -> GuardrailOut:
    """Change a guardrail, from the next call on."""
    guardrail = _guardrail(request, name)
    guardrail.revise(by=request.principal, **body.model_dump(exclude_none=True))
    return GuardrailOut.of(guardrail)


@router.put("/guardrails/{name}/secret", response=GuardrailOut, auth=WRITE)
def renew_secret(request: TenantRequest, name: str) -> GuardrailOut:
    """Sign a webhook's calls with a new secret, which is shown here, once."""
    guardrail = _guardrail(request, name)
    return GuardrailOut.of(guardrail, secret=guardrail.renew_secret(by=request.principal))


@router.delete("/guardrails/{name}", response={204: None}, auth=WRITE)
def delete_guardrail(request: TenantRequest, name: str) -> HttpResponse:
    """Remove a guardrail; what it found stays."""
    _guardrail(request, name).remove(by=request.principal)
    return HttpResponse(status=204)


def _guardrail(request: TenantRequest, name: str) -> Guardrail:
    found = Guardrail.objects.within(request.tenant)
    guardrail: Guardrail | None = found.filter(name=name).first() if "\x00" not in name else None
    if guardrail is None:
        raise UnknownGuardrail(f"There is no guardrail `{name}`.", param="name")
    return guardrail
