"""An account at somebody who runs models."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.gateway.routing import KIND, PURPOSE
from menhir.tenancy.models import HotModel
from menhir.tenancy.sealing import SealedField, seal


class Provider(HotModel):
    """Where a tenant's calls can go, with the credential that opens it.

    The credential is sealed to this row; it can be set, never read back.
    """

    class Kind(models.TextChoices):
        """Which adapter speaks to it."""

        OPENAI = "openai", _("OpenAI-compatible server")
        ANTHROPIC = "anthropic", _("Anthropic")
        GEMINI = "gemini", _("Google Gemini")
        EMBEDDER = "embedder", _("Local embeddings (built in)")
        EXTRACT = "extract", _("Quoting from passages (built in)")

    hot_kind: ClassVar[str] = KIND

    slug = models.SlugField(_("slug"), max_length=60)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    base_url = models.URLField(
        _("base URL"), max_length=500, blank=True, help_text=_("Up to and including its version, such as /v1; empty for what is built in.")
    )
    sealed = SealedField(_("sealed credential"), purpose=PURPOSE, null=True, blank=True, editable=False)
    headers = models.JSONField(_("extra headers"), default=dict, blank=True, help_text=_("Sent with every request."))
    tariff = models.CharField(
        _("price list"), max_length=60, blank=True, help_text=_("Whose prices apply, such as “openai”; empty for what costs nothing.")
    )
    first_byte_timeout_seconds = models.FloatField(
        _("longest silence of a stream, in seconds"), default=60.0, validators=[MinValueValidator(0.1)]
    )
    answer_timeout_seconds = models.FloatField(
        _("longest wait for a whole answer, in seconds"), default=600.0, validators=[MinValueValidator(0.1)]
    )
    is_guarded = models.BooleanField(
        _("guarded"),
        default=False,
        help_text=_("Named by the tenant itself: it must not lead into the network that this installation runs in."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="gateway_provider_slug"),
            models.CheckConstraint(
                condition=models.Q(first_byte_timeout_seconds__gt=0, answer_timeout_seconds__gt=0), name="gateway_provider_patience"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def has_credential(self) -> bool:
        """Whether a credential is stored."""
        return self.sealed is not None

    def set_credential(self, secret: str) -> None:
        """Seal a credential into this row, replacing the one before; an empty one takes it away. It is saved by `save()`."""
        self.sealed = seal(secret, purpose=PURPOSE, tenant_id=self.tenant_id, row_id=self.id) if secret else None
