"""Where a classifier route sends which questions."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.gateway.models.route import Route
from apps.gateway.patterns import branching
from apps.gateway.routing import KIND
from menhir.errors import Invalid
from menhir.tenancy.models import HotModel, TenantForeignKey


class Branch(HotModel):
    """One of several routes that a question may deserve, and what speaks for it.

    Rules are looked at first, in the order of positions: a branch with rules takes a question for which all of them hold. Those without
    rules are chosen by the route's model, by label and description. The last one takes what no other takes.
    """

    hot_kind: ClassVar[str] = KIND

    route = TenantForeignKey(Route, on_delete=models.CASCADE, related_name="branches", verbose_name=_("route"))
    leads_to = TenantForeignKey(Route, on_delete=models.PROTECT, related_name="led_to_by", verbose_name=_("leads to"))
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    label = models.SlugField(_("label"), max_length=60, help_text=_("What the model answers to choose it."))
    description = models.CharField(_("description"), max_length=500, blank=True, help_text=_("Which questions belong here."))
    matches = models.CharField(
        _("question matches"), max_length=500, blank=True, help_text=_("A regular expression (RE2), blind to case, found in the question.")
    )
    longer_than = models.PositiveIntegerField(
        _("conversation longer than"), null=True, blank=True, validators=[MinValueValidator(1)], help_text=_("In characters.")
    )
    has_tools = models.BooleanField(_("with tools"), null=True, blank=True)
    has_images = models.BooleanField(_("with images"), null=True, blank=True)

    class Meta:
        verbose_name = _("branch")
        verbose_name_plural = _("branches")
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "route", "label"], name="gateway_branch_label")]

    def __str__(self) -> str:
        return self.label

    def clean(self) -> None:
        """Refuse a pattern that does not compile."""
        if self.matches:
            try:
                branching(self.matches)
            except Invalid as e:
                raise ValidationError({"matches": e.message}) from e
