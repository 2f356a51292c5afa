"""What clients write into `model`, and where that leads."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.gateway.models.provider import Provider
from apps.gateway.routing import KIND
from menhir.tenancy.models import HotModel, TenantForeignKey

# It is printed into headers and URLs. `assistant:` at the front belongs to the assistants.
NAME = RegexValidator(
    r"^(?!assistant:)[A-Za-z0-9][A-Za-z0-9._:/@+-]*\Z",
    _("Use letters, digits and . _ : / @ + -, beginning with a letter or digit, and not with “assistant:”."),
)


class Route(HotModel):
    """A model by the name that a tenant's clients know it by."""

    hot_kind: ClassVar[str] = KIND

    name = models.CharField(_("name"), max_length=200, validators=[NAME], help_text=_("What clients write into `model`."))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="gateway_route_name")]

    def __str__(self) -> str:
        return self.name

    def lead_to(self, *targets: tuple[Provider, str]) -> None:
        """Replace the targets by these pairs of a provider and the model's name there, tried in this order."""
        for before in self.targets.all():
            before.delete()
        for position, (provider, upstream_model) in enumerate(targets):
            Target.objects.create(tenant_id=self.tenant_id, route=self, provider=provider, upstream_model=upstream_model, position=position)


class Target(HotModel):
    """One place that can answer for a route."""

    hot_kind: ClassVar[str] = KIND

    route = TenantForeignKey(Route, on_delete=models.CASCADE, related_name="targets", verbose_name=_("route"))
    provider = TenantForeignKey(Provider, on_delete=models.PROTECT, related_name="targets", verbose_name=_("provider"))
    upstream_model = models.CharField(_("model at the provider"), max_length=200)
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("The lowest is tried first."))

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["tenant", "route", "position"], name="gateway_target_position")]

    def __str__(self) -> str:
        return f"{self.provider} · {self.upstream_model}"
