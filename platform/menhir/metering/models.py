"""The ledger as Django reads it. It is written by `rows.py` alone, and nothing ever changes it: these models are unmanaged."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from menhir.metering.limits.models import Lease, Limit, LimitEvent, Meter
from menhir.tenancy.models import TenantModel

__all__ = ["Call", "Lease", "Limit", "LimitEvent", "Meter", "Settlement"]


class Call(TenantModel):
    """A call that was about to be made. Its ids point at rows that may be gone: money outlives what it was spent on."""

    opened_at = models.DateTimeField(_("opened"))
    process_id = models.UUIDField()
    operation = models.TextField(_("operation"))
    model = models.TextField(_("model"))
    route = models.TextField(_("route"))
    api_key_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    unit = models.TextField(_("user"), null=True)  # noqa: DJ001 - nobody is not a name
    assistant_id = models.UUIDField(null=True)
    prompt_version_id = models.UUIDField(null=True)
    stream = models.BooleanField(_("streamed"))
    estimate = models.DecimalField(_("estimate"), max_digits=30, decimal_places=15)
    parent_id = models.UUIDField(_("part of"), null=True)

    class Meta:
        managed = False
        db_table = "metering_call"
        verbose_name = _("call")
        verbose_name_plural = _("calls")

    def __str__(self) -> str:
        return f"{self.model} at {self.opened_at:%Y-%m-%d %H:%M:%S}"


class Settlement(TenantModel):
    """How a call ended; `id` and `opened_at` are the call's."""

    opened_at = models.DateTimeField(_("opened"))
    settled_at = models.DateTimeField(_("settled"))
    outcome = models.TextField(_("outcome"))
    status = models.SmallIntegerField(_("status"))
    provider = models.TextField(_("provider"))
    upstream_model = models.TextField(_("upstream model"))
    attempts = models.SmallIntegerField(_("attempts"))
    input_tokens = models.IntegerField(_("input tokens"))
    output_tokens = models.IntegerField(_("output tokens"))
    cached_input_tokens = models.IntegerField(_("cached input tokens"))
    reasoning_tokens = models.IntegerField(_("reasoning tokens"))
    usage_source = models.TextField(_("counted by"))
    cost = models.DecimalField(_("cost"), max_digits=30, decimal_places=15)
    priced = models.BooleanField(_("priced"))
    first_token_ms = models.IntegerField(_("time to first token"), null=True)
    latency_ms = models.IntegerField(_("latency"), null=True)
    error_code = models.TextField(_("error"), null=True)  # noqa: DJ001 - no error is no text

    class Meta:
        managed = False
        db_table = "metering_settlement"
        verbose_name = _("settlement")
        verbose_name_plural = _("settlements")

    def __str__(self) -> str:
        return f"{self.outcome} with {self.status}"
