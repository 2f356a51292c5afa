"""Calls of the ledger as people look for them: newest first, by whose they are and how they ended; one by its id; what belongs to it.

A day is a partition and the ledger's key begins with the tenant and the time: every question here names a stretch of time, so that it
reads a few days by that key and never the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from apps.gateway.guardrails.models import GuardrailEvent
from menhir.metering.models import Call, Settlement
from menhir.tenancy.models import Tenant

AROUND: Final = timedelta(days=1)
"""A call's id is from the moment of its opening: by it the days are found in which to look."""
PARTS_WITHIN: Final = timedelta(minutes=1)
"""The last leg or shadow of a call is opened as soon as the call is settled."""
OUTCOMES: Final = ("completed", "failed", "cancelled", "interrupted", "unsettled")
UUIDV7: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which calls: since when, and what must be so of them; `whole` leaves out legs and shadows, which are no calls of a client's."""

    since: datetime
    model: str | None = None
    key: UUID | None = None
    outcome: str | None = None
    unit: str | None = None
    whole: bool = False

    def of(self, tenant: Tenant) -> QuerySet[Call]:
        """Find them, newest first."""
        found: QuerySet[Call] = Call.objects.within(tenant).filter(opened_at__gte=self.since)
        for field, value in (("model", self.model), ("api_key_id", self.key), ("unit", self.unit)):
            if value is not None:
                found = found.filter(**{field: value})
        if self.whole:
            found = found.filter(parent_id=None)
        if self.outcome is not None:
            found = self._ended(found, tenant)
        return found.order_by("-opened_at", "-id")

    def _ended(self, found: QuerySet[Call], tenant: Tenant) -> QuerySet[Call]:
        ended = Settlement.objects.within(tenant).filter(opened_at__gte=self.since, opened_at=OuterRef("opened_at"), id=OuterRef("id"))
        if self.outcome == "unsettled":
            return found.filter(~Exists(ended))
        if self.outcome == "completed":
            # Nearly all are: asked one by one the newest are found at once, while a join would first put all of them together.
            return found.alias(ended=Subquery(ended.values("outcome")[:1])).filter(ended=self.outcome)
        return found.filter(Exists(ended.filter(outcome=self.outcome)))


def call_of(tenant: Tenant, call_id: UUID) -> Call | None:
    """The call of an id; None when there is none."""
    seconds = (call_id.int >> 80) / 1000
    if call_id.version != UUIDV7 or seconds > (datetime.now(UTC) + AROUND).timestamp():  # nor is one from the year 10889
        return None
    about = datetime.fromtimestamp(seconds, UTC)
    call: Call | None = Call.objects.within(tenant).filter(id=call_id, opened_at__range=(about - AROUND, about + AROUND)).first()
    return call


def settlements(tenant: Tenant, calls: Sequence[Call]) -> dict[UUID, Settlement]:
    """How calls ended, by their ids; of those that are under way nothing."""
    if not calls:
        return {}
    times, ids = {call.opened_at for call in calls}, [call.id for call in calls]
    found: Any = Settlement.objects.within(tenant).filter(opened_at__in=times, id__in=ids)
    return {settlement.id: settlement for settlement in found}


def parts_of(tenant: Tenant, call: Call, settlement: Settlement | None) -> QuerySet[Call]:
    """The legs of its fan-out and its shadows, in the order in which they were asked."""
    last = settlement.settled_at + PARTS_WITHIN if settlement is not None else call.opened_at + AROUND
    found: QuerySet[Call] = Call.objects.within(tenant).filter(parent_id=call.id, opened_at__range=(call.opened_at, last))
    return found.order_by("opened_at", "id")


def events_of(tenant: Tenant, call: Call) -> QuerySet[GuardrailEvent]:
    """What guardrails found in it."""
    found: QuerySet[GuardrailEvent] = GuardrailEvent.objects.within(tenant).filter(call_id=call.id, at__gte=call.opened_at)
    return found.filter(at__lt=call.opened_at + AROUND).order_by("at", "id")
