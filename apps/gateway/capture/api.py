"""`/api/v1/calls`: the ledger's calls one by one, and their texts where those are kept; `/api/v1/capture`: whether they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from apps.gateway.capture.finding import OUTCOMES, Wanted, call_of, events_of, settlements
from apps.gateway.capture.models import LONGEST_DAYS, Capture, CapturePolicy
from apps.gateway.cursor import Cursor
from apps.gateway.guardrails.shapes import EventOut
from apps.gateway.models.route import Route
from menhir.errors import Invalid, NotFound
from menhir.metering.models import Call
from menhir.tenancy.fields import DecimalString, Strict, Text
from menhir.tenancy.http import TenantRequest, in_tenant, needs

READ: Final = needs("calls:read")
WRITE: Final = needs("guardrails:write")
DEFAULT_DAYS: Final = 7
MOST_CALLS: Final = 200

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
    unit: Annotated[Text | None, Query(description="whose call it was among the callers of one key")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CALLS)] = 50,
    cursor: str | None = None,
) -> CallPage:
    """List calls, newest first."""
    if outcome is not None and outcome not in OUTCOMES:
        raise Invalid(f"`outcome` is one of {', '.join(OUTCOMES)}.", param="outcome")
    since = since or datetime.now(UTC) - timedelta(days=DEFAULT_DAYS)
    found = Wanted(since=since, model=model, key=key, outcome=outcome, unit=unit).of(request.tenant)
    if cursor is not None:
        found = found.filter(Cursor.read(cursor).after("opened_at"))
    page = list(found[: limit + 1])
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
    kept = Capture.of(call).first()
    return CallInFull(
        **_fields(CallInFull, call),
        settled=_settlements(request, [call]).get(call.id),
        guardrails=[EventOut.of(event) for event in events_of(request.tenant, call)],
        capture=CaptureOut(**_fields(CaptureOut, kept)) if kept is not None else None,
    )


@router.delete("/calls/{uuid:call_id}/capture", response={204: None}, auth=WRITE)
def delete_capture(request: TenantRequest, call_id: UUID) -> HttpResponse:
    """Delete the texts of a call, now and for good. Its rows in the ledger stay."""
    if not Capture.forget(_call(request, call_id), by=request.principal):
        raise NotFound("Nothing of this call is kept.", param="call_id")
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
    call = call_of(request.tenant, call_id)
    if call is None:
        raise NotFound("There is no such call.", param="call_id")
    return call


def _settlements(request: TenantRequest, calls: list[Call]) -> dict[UUID, SettledOut]:
    return {call_id: SettledOut(**_fields(SettledOut, row)) for call_id, row in settlements(request.tenant, calls).items()}


def _fields(shape: type[Schema], row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in shape.model_fields if hasattr(row, name)}
