"""The entry."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.tenancy.models import TenantModel


class Entry(TenantModel):
    """Somebody did something to something."""

    at = models.DateTimeField(_("when"), default=timezone.now, editable=False)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(_("who"), max_length=120)
    verb = models.CharField(_("did"), max_length=60)
    noun = models.CharField(_("to"), max_length=60)
    noun_id = models.UUIDField()
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-at"]
        indexes = [
            models.Index(fields=["tenant", "-at"], name="audit_entry_recent"),
            models.Index(fields=["tenant", "noun_id"], name="audit_entry_of_noun"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.noun}"
