"""`GET /api/v1/usage`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from ninja import Query, Router, Schema

from menhir.metering import usage
from menhir.tenancy.fields import DecimalString
from menhir.tenancy.http import TenantRequest, in_tenant, needs

DEFAULT_DAYS = 30

router = Router(tags=["Usage"])
router.add_decorator(in_tenant, mode="operation")


class UsedOut(Schema):
    """Sums over calls. `cost` is in USD, exact; `unpriced` calls used a model without a known price."""

    calls: int
    errors: int
    cancelled: int
    unsettled: int
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: DecimalString
    first_token_ms_p95: float | None


class GroupOut(UsedOut):
    """The sums of one group; what was not grouped by is null."""

    day: date | None
    model: str | None
    key_id: UUID | None
    key: str | None
    user: str | None
    route: str | None
    provider: str | None
    assistant_id: UUID | None
    prompt_version_id: UUID | None

    @classmethod
    def of(cls, group: usage.Group) -> GroupOut:
        """Lay the group and its sums side by side."""
        sums = {name: getattr(group.used, name) for name in UsedOut.model_fields}
        return cls(**{name: getattr(group, name) for name in cls.model_fields if name not in sums}, **sums)


class UsageOut(Schema):
    """Usage of a stretch of days, both included, in UTC."""

    first_day: date
    last_day: date
    group_by: list[str]
    groups: list[GroupOut]
    total: UsedOut


@router.get("/usage", response=UsageOut, auth=needs("usage:read"), summary="What was used, and what it cost")
def get_usage(
    request: TenantRequest,
    first_day: Annotated[date | None, Query(alias="from", description="First day (UTC); 30 days ago when left out")] = None,
    last_day: Annotated[date | None, Query(alias="to", description="Last day (UTC), included; today when left out")] = None,
    group_by: Annotated[str, Query(description=f"Any of {', '.join(usage.DIMENSIONS)}, separated by commas")] = "day",
) -> UsageOut:
    """Sum up the calls of this tenant by day, model, key, user, route, provider, assistant and prompt version, in any combination.

    At most 366 days at once.
    """
    last_day = last_day or datetime.now(UTC).date()
    first_day = first_day or date.fromordinal(max(1, last_day.toordinal() - DEFAULT_DAYS + 1))
    dimensions = usage.dimensions(group_by)
    summary = usage.summary(request.tenant, first_day=first_day, last_day=last_day, group_by=dimensions)
    return UsageOut(
        first_day=summary.first_day,
        last_day=summary.last_day,
        group_by=list(dimensions),
        groups=[GroupOut.of(group) for group in summary.groups],
        total=UsedOut.model_validate(summary.total, from_attributes=True),
    )
