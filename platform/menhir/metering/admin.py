"""The ledger, to be read, and limits, to be set."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from menhir.metering.models import Call, Limit, LimitEvent, Settlement
from menhir.tenancy.admin import OfTenant, ReadOnly


@admin.register(Call)
class CallAdmin(ReadOnly):
    """Calls of the chosen tenant, as they were opened."""

    list_display = ("opened_at", "operation", "model", "route", "stream", "estimate", "parent_id")
    list_filter = ("operation", "stream")
    search_fields = ("model", "route")
    ordering = ("-opened_at",)


@admin.register(Settlement)
class SettlementAdmin(ReadOnly):
    """How they ended, and what they cost."""

    list_display = ("opened_at", "outcome", "status", "provider", "upstream_model", "input_tokens", "output_tokens", "cost", "latency_ms")
    list_filter = ("outcome",)
    search_fields = ("provider", "upstream_model", "error_code")
    ordering = ("-opened_at",)


@admin.register(Limit)
class LimitAdmin(OfTenant):
    """How much the chosen tenant, its keys, users and routes may use."""

    list_display = ("subject", "subject_id", "metric", "period", "amount", "created_at")
    list_filter = ("subject", "metric", "period")
    search_fields = ("subject_id",)
    ordering = ("created_at",)

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> tuple[str, ...]:
        """Of a limit that is there only the amount changes: what was counted was counted for somebody."""
        return () if obj is None else ("subject", "subject_id", "metric", "period")


@admin.register(LimitEvent)
class LimitEventAdmin(ReadOnly):
    """Who came to 80 and to 100 per cent of a limit."""

    list_display = ("at", "limit", "subject", "percent", "spent", "amount")
    list_filter = ("percent",)
    search_fields = ("subject",)
    list_select_related = ("limit",)
    ordering = ("-at",)
