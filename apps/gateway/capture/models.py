"""CapturePolicy and Capture."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext_lazy as _

from apps.gateway.routing import KIND
from menhir import audit
from menhir.metering.models import Call
from menhir.tenancy.models import HotModel, Tenant, TenantModel
from menhir.tenancy.principal import Principal

LONGEST_DAYS = 365


class CapturePolicy(HotModel):
    """Whether the texts of calls are kept. One for a route goes before the one for all."""

    hot_kind: ClassVar[str] = KIND

    route = models.CharField(_("route"), max_length=200, blank=True, default="", help_text=_("By name; empty for every route."))
    enabled = models.BooleanField(_("enabled"), default=True)
    keep_days = models.PositiveSmallIntegerField(
        _("keep for, in days"), default=30, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_DAYS)]
    )
    redact = models.BooleanField(_("without personal data"), default=True)

    class Meta:
        verbose_name = _("capture policy")
        verbose_name_plural = _("capture policies")
        ordering = ["route"]
        constraints = [models.UniqueConstraint(fields=["tenant", "route"], name="gateway_capturepolicy_route")]

    def __str__(self) -> str:
        return self.route or "*"

    @classmethod
    def put(cls, tenant: Tenant, *, route: str, enabled: bool, keep_days: int, redact: bool, by: Principal) -> Self:
        """Keep texts in this way, from the next call on."""
        said = {"enabled": enabled, "keep_days": keep_days, "redact": redact}
        policy: Self | None = cls.objects.within(tenant).filter(route=route).first()
        if policy is None:
            policy = cls(tenant=tenant, route=route, **said)
            try:
                with transaction.atomic():
                    policy.save(force_insert=True)
            except IntegrityError:  # somebody else has said it meanwhile: the last word counts
                policy = cls.objects.within(tenant).get(route=route)
        for name, value in said.items():
            setattr(policy, name, value)
        policy.save()
        detail = {"route": route, "enabled": enabled, "keep_days": keep_days, "redact": redact}
        audit.record(by, verb="capture.set", noun="capture_policy", noun_id=policy.id, detail=detail)
        return policy

    def remove(self, *, by: Principal) -> None:
        """Say nothing about this route (or about all) any more. What was kept stays until its day."""
        audit.record(by, verb="capture.removed", noun="capture_policy", noun_id=self.id, detail={"route": self.route})
        self.delete()


class Capture(TenantModel):
    """What was asked and answered; `id` and `opened_at` are the call's."""

    opened_at = models.DateTimeField(_("opened"))
    keep_until = models.DateTimeField(_("kept until"))
    request = models.JSONField(_("request"), null=True)
    answer = models.JSONField(_("answer"), null=True)
    truncated = models.BooleanField(_("too long to be kept whole"))

    class Meta:
        managed = False
        db_table = "gateway_capture"
        verbose_name = _("capture")
        verbose_name_plural = _("captures")

    def __str__(self) -> str:
        return str(self.id)

    @classmethod
    def of(cls, call: Call) -> models.QuerySet[Self]:
        """The texts of a call, while they are kept."""
        found: models.QuerySet[Self] = cls.objects.within(call.tenant_id).filter(opened_at=call.opened_at, id=call.id)
        return found.filter(keep_until__gt=datetime.now(UTC))

    @classmethod
    def forget(cls, call: Call, *, by: Principal) -> bool:
        """Delete the texts of a call, now and for good; False when nothing of it was kept. Its rows in the ledger stay."""
        deleted, _ = cls.of(call).delete()
        if deleted:
            audit.record(by, verb="capture.deleted", noun="call", noun_id=call.id)
        return bool(deleted)
