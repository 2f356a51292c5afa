"""The ledger, to be read."""

from __future__ import annotations

from django.contrib import admin

from menhir.metering.models import Call, Settlement
from menhir.tenancy.admin import ReadOnly


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
