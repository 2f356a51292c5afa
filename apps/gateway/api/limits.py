"""`/api/v1/limits`: how much a tenant, a key, a user or a route may use."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from django.http import HttpResponse
from ninja import Router, Schema, Status
from pydantic import Field

from apps.gateway import limiting
from menhir.errors import NotFound
from menhir.metering.limits.models import Limit
from menhir.tenancy.fields import DecimalString
from menhir.tenancy.http import TenantRequest, in_tenant, needs

READ: Final = needs("limits:read")
WRITE: Final = needs("limits:write")

router = Router(tags=["limits"])
router.add_decorator(in_tenant, mode="operation")

Amount = Annotated[Decimal, Field(max_digits=30, decimal_places=15)]


class LimitIn(Schema):
    """A limit to set. Without `subject_id` each key, user or route has so much of its own; one that names its subject goes before it."""

    subject: str = Field(description="tenant, key, user or route")
    subject_id: str = Field("", description="A key's id, or the name of a user or a route")
    metric: str = Field(description="requests, tokens, parallel or money")
    period: str = Field("", description="minute, hour or day; of money day, week or month; none for parallel")
    amount: Amount = Field(description="How much; of money in USD, as a decimal string")


class AmountIn(Schema):
    """A new amount."""

    amount: Amount


class MeterOut(Schema):
    """How far one subject has come in the present window."""

    subject: str
    used: DecimalString
    held: DecimalString
    remaining: DecimalString
    began_at: datetime | None
    resets_at: datetime | None


class EventOut(Schema):
    """A subject came to 80 or 100 per cent of the limit."""

    subject: str
    percent: int
    at: datetime
    used: DecimalString
    amount: DecimalString


class LimitOut(Schema):
    """A limit."""

    id: UUID
    subject: str
    subject_id: str
    metric: str
    period: str
    amount: DecimalString
    created_at: datetime

    @classmethod
    def of(cls, limit: Limit) -> LimitOut:
        """Show a limit."""
        return cls(**{name: getattr(limit, name) for name in LimitOut.model_fields})


class LimitWithUse(LimitOut):
    """A limit, who has used how much of it (the 100 who used most), and its last 50 events, newest first."""

    meters: list[MeterOut]
    events: list[EventOut]


class LimitList(Schema):
    """Every limit of a tenant."""

    limits: list[LimitOut]


@router.get("/limits", response=LimitList, auth=READ, summary="List the limits")
def list_limits(request: TenantRequest) -> LimitList:
    """List every limit, the oldest first."""
    return LimitList(limits=[LimitOut.of(limit) for limit in Limit.objects.within(request.tenant).order_by("created_at", "id")])


@router.post("/limits", response={201: LimitWithUse}, auth=WRITE, summary="Set a limit")
def set_limit(request: TenantRequest, body: LimitIn) -> Status[LimitWithUse]:
    """Set a limit. It holds within a second, everywhere, and counts from then on."""
    return Status(201, _shown(limiting.set_limit(request.tenant, **body.model_dump(), by=request.principal)))


@router.get("/limits/{uuid:limit_id}", response=LimitWithUse, auth=READ, summary="Show a limit and its use")
def get_limit(request: TenantRequest, limit_id: UUID) -> LimitWithUse:
    """Show a limit, its use as reported a second ago at most, and when it came to 80 and to 100 per cent."""
    return _shown(_limit(request, limit_id))


@router.patch("/limits/{uuid:limit_id}", response=LimitWithUse, auth=WRITE, summary="Change a limit's amount")
def change_limit(request: TenantRequest, limit_id: UUID, body: AmountIn) -> LimitWithUse:
    """Allow more or less; what was used in the present window stays used."""
    limit = _limit(request, limit_id)
    limiting.change_limit(limit, body.amount, by=request.principal)
    return _shown(limit)


@router.delete("/limits/{uuid:limit_id}", response={204: None}, auth=WRITE, summary="Delete a limit")
def delete_limit(request: TenantRequest, limit_id: UUID) -> HttpResponse:
    """Limit no more."""
    limiting.delete_limit(_limit(request, limit_id), by=request.principal)
    return HttpResponse(status=204)


def _limit(request: TenantRequest, limit_id: UUID) -> Limit:
    found: Limit | None = Limit.objects.within(request.tenant).filter(id=limit_id).first()
    if found is None:
        raise NotFound("There is no such limit.", param="limit_id")
    return found


def _shown(limit: Limit) -> LimitWithUse:
    return LimitWithUse(
        **{name: getattr(limit, name) for name in LimitOut.model_fields},
        meters=[
            MeterOut(**{name: getattr(use, name) for name in MeterOut.model_fields})
            for use in limiting.uses_of(limit, now=datetime.now(UTC))
        ],
        events=[
            EventOut(subject=event.subject, percent=event.percent, at=event.at, used=event.spent, amount=event.amount)
            for event in limiting.events_of(limit)
        ],
    )
