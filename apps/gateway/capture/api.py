"""`/api/v1/calls`: the ledger's calls one by one, and their texts where those are kept; `/api/v1/capture`: whether they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from apps.gateway.capture.models import LONGEST_DAYS, Capture, CapturePolicy
from apps.gateway.cursor import Cursor
from apps.gateway.guardrails.models import GuardrailEvent
from apps.gateway.guardrails.shapes import EventOut
from apps.gateway.models.route import Route
from menhir import audit
from menhir.errors import Invalid, NotFound
from menhir.metering.models import Call, Settlement
from menhir.tenancy.fields import DecimalString, Strict, Text
from menhir.tenancy.http import TenantRequest, in_tenant, needs

READ: Final = needs("calls:read")
WRITE: Final = needs("guardrails:write")
DEFAULT_DAYS: Final = 7
MOST_CALLS: Final = 200
AROUND: Final = timedelta(days=1)
"""A call's id is from the moment of its opening: by it the days are found in which to look."""
OUTCOMES: Final = ("completed", "failed", "cancelled", "interrupted", "unsettled")

router = Router(tags=["calls"])
router.add_decorator(in_tenant, mode="operation")


class SettledOut(Schema):
    """How a call ended. `cost` is in USD, a decimal string."""

    settled_at: datetime
    outcome: str
    status: int
    provider: str
    upstream_model: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    usage_source: str
    cost: DecimalString
    first_token_ms: int | None
    latency_ms: int | None
    error_code: str | None


class CallOut(Schema):
    """A call; `settled` is null while it is under way."""

    id: UUID
    opened_at: datetime
    operation: str
    model: str
    route: str
    api_key_id: UUID | None
    user_id: UUID | None
    unit: str | None
    assistant_id: UUID | None
    prompt_version_id: UUID | None
    stream: bool
    parent_id: UUID | None
    settled: SettledOut | None


class CaptureOut(Schema):
    """What was asked and answered. Of what was too long the request is null, or the answer only begun."""

    request: Any
    answer: Any
    truncated: bool
    keep_until: datetime


class CallInFull(CallOut):
    """A call with what its guardrails found, and its texts where they are kept."""

    guardrails: list[EventOut]
    capture: CaptureOut | None


class CallPage(Schema):
    """Calls, newest first; `next` is the cursor of the page after this one."""

    calls: list[CallOut]
    next: str | None


class PolicyIn(Strict):
    """Whether texts are kept; with `route` for that route alone, and before what is said for all."""

    route: Annotated[Text, Field(max_length=200)] = ""
    enabled: bool = True
    keep_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS, strict=True)] = 30
    redact: bool = True


class PolicyPage(Schema):
    """Every policy of the tenant. Without any, nothing is kept."""

    policies: list[PolicyIn]


@router.get("/calls", response=CallPage, auth=READ)
def list_calls(
    request: TenantRequest,
    since: Annotated[datetime | None, Query(description="7 days ago when left out")] = None,
    model: Text | None = None,
    key: UUID | None = None,
    outcome: Text | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CALLS)] = 50,
    cursor: str | None = None,
) -> CallPage:
    """List calls, newest first."""
    since = since or datetime.now(UTC) - timedelta(days=DEFAULT_DAYS)
    found = Call.objects.within(request.tenant).filter(opened_at__gte=since)
    if model is not None:
        found = found.filter(model=model)
    if key is not None:
        found = found.filter(api_key_id=key)
    if outcome is not None:
        if outcome not in OUTCOMES:
            raise Invalid(f"`outcome` is one of {', '.join(OUTCOMES)}.", param="outcome")
        ended = Settlement.objects.within(request.tenant).filter(opened_at__gte=since, opened_at=OuterRef("opened_at"), id=OuterRef("id"))
        found = found.filter(~Exists(ended) if outcome == "unsettled" else Exists(ended.filter(outcome=outcome)))
    if cursor is not None:
        found = found.filter(Cursor.read(cursor).after("opened_at"))
    page = list(found.order_by("-opened_at", "-id")[: limit + 1])
    shown = page[:limit]
    settled = _settlements(request, shown)
    return CallPage(
        calls=[CallOut(**_fields(CallOut, call), settled=settled.get(call.id)) for call in shown],
        next=str(Cursor(shown[-1].opened_at, shown[-1].id)) if len(page) > limit else None,
    )


@router.get("/calls/{uuid:call_id}", response=CallInFull, auth=READ)
def get_call(request: TenantRequest, call_id: UUID) -> CallInFull:
    """Show one call, how it ended, what its guardrails found, and its texts where they are kept."""
    call = _call(request, call_id)
    kept = _captures(request, call).first()
    events = GuardrailEvent.objects.within(request.tenant).filter(call_id=call.id, at__gte=call.opened_at).order_by("at", "id")
    return CallInFull(
        **_fields(CallInFull, call),
        settled=_settlements(request, [call]).get(call.id),
        guardrails=[EventOut.of(event) for event in events],
        capture=CaptureOut(**_fields(CaptureOut, kept)) if kept is not None else None,
    )


@router.delete("/calls/{uuid:call_id}/capture", response={204: None}, auth=WRITE)
def delete_capture(request: TenantRequest, call_id: UUID) -> HttpResponse:
    """Delete the texts of a call, now and for good. Its rows in the ledger stay."""
    call = _call(request, call_id)
    deleted, _ = _captures(request, call).delete()
    if not deleted:
        raise NotFound("Nothing of this call is kept.", param="call_id")
    audit.record(request.principal, verb="capture.deleted", noun="call", noun_id=call.id)
    return HttpResponse(status=204)


@router.get("/capture", response=PolicyPage, auth=WRITE)
def list_policies(request: TenantRequest) -> PolicyPage:
    """Show whether texts are kept."""
    return PolicyPage(policies=[PolicyIn(**_fields(PolicyIn, policy)) for policy in CapturePolicy.objects.within(request.tenant)])


@router.put("/capture", response=PolicyIn, auth=WRITE)
def put_policy(request: TenantRequest, body: PolicyIn) -> PolicyIn:
    """Keep texts (or keep none), from the next call on."""
    if body.route and not Route.objects.within(request.tenant).filter(name=body.route).exists():
        raise Invalid(f"There is no route `{body.route}`.", param="route")
    policy = CapturePolicy.put(request.tenant, by=request.principal, **body.model_dump())
    return PolicyIn(**_fields(PolicyIn, policy))


@router.delete("/capture", response={204: None}, auth=WRITE)
def delete_policy(request: TenantRequest, route: Text = "") -> HttpResponse:
    """Forget what was said about a route, or about all."""
    policy = CapturePolicy.objects.within(request.tenant).filter(route=route).first()
    if policy is None:
        raise NotFound("There is no such policy.", param="route")
    policy.remove(by=request.principal)
    return HttpResponse(status=204)


def _call(request: TenantRequest, call_id: UUID) -> Call:
    about = datetime.fromtimestamp((call_id.int >> 80) / 1000, UTC) if call_id.version == 7 else None  # noqa: PLR2004 - of UUIDs
    found = Call.objects.within(request.tenant).filter(id=call_id)
    call: Call | None = found.filter(opened_at__range=(about - AROUND, about + AROUND)).first() if about is not None else None
    if call is None:
        raise NotFound("There is no such call.", param="call_id")
    return call


def _captures(request: TenantRequest, call: Call) -> Any:
    found = Capture.objects.within(request.tenant).filter(opened_at=call.opened_at, id=call.id)
    return found.filter(keep_until__gt=datetime.now(UTC))


def _settlements(request: TenantRequest, calls: list[Call]) -> dict[UUID, SettledOut]:
    if not calls:
        return {}
    times = [call.opened_at for call in calls]
    found = Settlement.objects.within(request.tenant).filter(opened_at__range=(min(times), max(times)), id__in=[call.id for call in calls])
    return {settlement.id: SettledOut(**_fields(SettledOut, settlement)) for settlement in found}


def _fields(shape: type[Schema], row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in shape.model_fields if hasattr(row, name)}
