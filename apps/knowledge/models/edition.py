"""One upload of a document."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from menhir.tenancy.models import TenantForeignKey, TenantModel


class Edition(TenantModel):
    """One upload's bytes, kept as they came, and what was read from them while it is on its way to being live.

    `text` is here from extraction until the edition is live; from then on it is the document's.
    """

    document = TenantForeignKey("knowledge.Document", on_delete=models.CASCADE, related_name="editions")
    content = models.BinaryField()
    text = models.TextField(default="", blank=True)
    found_title = models.CharField(max_length=200, default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "edition"
