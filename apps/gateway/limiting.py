"""Limits as a tenant sets them: written with their entry in the audit, and read with how far each subject has come.

All of these run inside the tenant's transaction; the data plane hears of the change when that commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db.models import Q

from menhir import audit
from menhir.metering.limits.models import Limit, LimitEvent, Meter

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from menhir.tenancy.models import Tenant
    from menhir.tenancy.principal import Principal

SHOWN_METERS = 100
SHOWN_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Use:
    """How far one subject has come in the present window; `held` is promised to calls and processes, and of parallel calls all there is."""

    subject: str
    used: Decimal
    held: Decimal
    remaining: Decimal
    began_at: datetime | None
    resets_at: datetime | None


def set_limit(
    tenant: Tenant, *, subject: str, subject_id: str = "", metric: str, period: str = "", amount: Decimal, by: Principal
) -> Limit:
    """Set a limit; it holds within a second, everywhere. Raises Invalid or Conflict."""
    limit = Limit.set(tenant, subject=subject, subject_id=subject_id, metric=metric, period=period, amount=amount)
    _record(limit, "limit.set", by)
    return limit


def change_limit(limit: Limit, amount: Decimal, *, by: Principal) -> None:
    """Allow more or less; what was used in the present window stays used. Raises Invalid."""
    limit.change(amount)
    _record(limit, "limit.changed", by)


def delete_limit(limit: Limit, *, by: Principal) -> None:
    """Limit no more; what was counted goes with it."""
    _record(limit, "limit.deleted", by)
    limit.delete()


def present_meters(tenant: Tenant, *, now: datetime) -> QuerySet[Meter]:
    """The meters whose window is not over; a meter that nobody has asked since holds the numbers of the window before."""
    found: QuerySet[Meter] = Meter.objects.within(tenant).filter(Q(ends_at=None) | Q(ends_at__gt=now))
    return found


def uses_of(limit: Limit, *, now: datetime) -> list[Use]:
    """Who has used how much of it, the 100 who used most."""
    meters = present_meters(limit.tenant, now=now).filter(limit=limit).order_by("-spent", "-leased", "subject")
    return [use_of(limit, meter) for meter in meters[:SHOWN_METERS]]


def use_of(limit: Limit, meter: Meter) -> Use:
    """What a meter says."""
    return Use(
        subject=meter.subject,
        used=meter.spent,
        held=meter.leased,
        remaining=max(Decimal(0), limit.amount - meter.spent - meter.leased),
        began_at=meter.starts_at if meter.ends_at is not None else None,
        resets_at=meter.ends_at,
    )


def events_of(limit: Limit) -> list[LimitEvent]:
    """When it came to 80 and to 100 per cent, the last 50, newest first."""
    return list(LimitEvent.objects.within(limit.tenant_id).filter(limit=limit)[:SHOWN_EVENTS])


def _record(limit: Limit, verb: str, by: Principal) -> None:
    audit.record(by, verb=verb, noun="limit", noun_id=limit.id, detail={"limit": str(limit)})
