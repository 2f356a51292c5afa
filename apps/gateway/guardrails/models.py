"""Guardrail and GuardrailEvent."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.gateway.guardrails import kinds
from apps.gateway.guardrails.kinds import UnfitGuardrail
from apps.gateway.guardrails.loading import PURPOSE
from apps.gateway.routing import KIND
from menhir import audit
from menhir.errors import Conflict, Invalid
from menhir.tenancy.models import ApiKey, HotModel, Tenant, TenantModel
from menhir.tenancy.principal import Principal
from menhir.tenancy.sealing import SealedField, seal

NAME_FORM = r"^[a-z0-9][a-z0-9-]{0,59}\Z"
NAME = RegexValidator(NAME_FORM, _("Use up to 60 lower-case letters, digits and hyphens."))
SECRET_BYTES = 24
MOST_POSITION = 32_767
MOST_NAMED = 200


class GuardrailExists(Conflict):
    """There is a guardrail of this name already."""

    code = "guardrail_exists"


class Guardrail(HotModel):
    """One rule about what calls may say. The routes it watches over know it, so a change is heard as a change of routes."""

    class Kind(models.TextChoices):
        """What it looks at."""

        REGEX = "regex", _("Regular expressions")
        PII = "pii", _("Personal data")
        SIZE = "size", _("Size")
        MODELS = "models", _("Allowed models")
        MODERATION = "moderation", _("Moderation by a model")
        WEBHOOK = "webhook", _("Webhook")

    class Stage(models.TextChoices):
        """When it looks."""

        BEFORE = "before", _("Before the call")
        AFTER = "after", _("After the call")
        BOTH = "both", _("Before and after")

    class Action(models.TextChoices):
        """What follows when it finds something."""

        BLOCK = "block", _("Block the call")
        REDACT = "redact", _("Redact what was found")
        FLAG = "flag", _("Only note it")

    hot_kind: ClassVar[str] = KIND

    name = models.CharField(_("name"), max_length=60, validators=[NAME], help_text=_("What clients are told when it blocks their call."))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    stage = models.CharField(_("stage"), max_length=10, choices=Stage.choices, default=Stage.BEFORE)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices, default=Action.BLOCK)
    fails_closed = models.BooleanField(
        _("fails closed"), default=False, help_text=_("When it cannot be asked, nothing passes; otherwise everything does.")
    )
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    sealed = SealedField(_("sealed secret"), purpose=PURPOSE, null=True, blank=True, editable=False)
    routes = ArrayField(
        models.CharField(max_length=200), verbose_name=_("routes"), default=list, blank=True, help_text=_("By name; empty for every route.")
    )
    keys = ArrayField(models.UUIDField(), verbose_name=_("API keys"), default=list, blank=True, help_text=_("By id; empty for everybody."))
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("The lowest is asked first."))
    enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("guardrail")
        verbose_name_plural = _("guardrails")
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="gateway_guardrail_name")]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(cls, tenant: Tenant, *, name: str, kind: str, by: Principal, **fields: Any) -> tuple[Self, str]:
        """Make a guardrail; it watches from the next call on. Gives the secret of a webhook, which nobody can read again.

        Raises UnfitGuardrail, BadPattern or GuardrailExists.
        """
        guardrail = cls(tenant=tenant, name=name, kind=kind)
        guardrail._set(fields)
        secret = guardrail.ensure_secret()
        try:
            with transaction.atomic():
                guardrail.save(force_insert=True)
        except IntegrityError as e:
            raise GuardrailExists(f"There is a guardrail `{name}` already.", param="name") from e
        guardrail._record("created", by)
        return guardrail, secret

    def revise(self, *, by: Principal, **fields: Any) -> None:
        """Change these fields, from the next call on; raises UnfitGuardrail or BadPattern."""
        self._set(fields)
        self.save()
        self._record("revised", by)

    def ensure_secret(self) -> str:
        """Give a webhook that has none a secret, to be saved with it and shown, once; empty when there is nothing to show."""
        return self._new_secret() if self.kind == self.Kind.WEBHOOK and self.sealed is None else ""

    def renew_secret(self, *, by: Principal) -> str:
        """Sign with a new secret from the next call on, and give it, once."""
        if self.kind != self.Kind.WEBHOOK:
            raise UnfitGuardrail("Only a webhook has a secret.", param="name")
        secret = self._new_secret()
        self.save()
        self._record("secret_renewed", by)
        return secret

    def remove(self, *, by: Principal) -> None:
        """Watch no more, from the next call on."""
        self._record("removed", by)
        self.delete()

    def clean(self) -> None:
        """Refuse what does not fit together, for forms."""
        from django.core.exceptions import ValidationError

        try:
            self.check_fit()
            self._check_named(self.routes, self.keys)
        except Invalid as e:
            raise ValidationError(e.message) from e

    def check_fit(self) -> None:
        """Raise UnfitGuardrail (or BadPattern) unless kind, stage, action and settings fit together."""
        if not re.match(NAME_FORM, self.name):
            raise UnfitGuardrail(str(NAME.message), param="name")
        kinds.settings_of(self.kind, self.settings if isinstance(self.settings, Mapping) else {"": None})
        if self.stage not in self.Stage.values:
            raise UnfitGuardrail(f"There is no stage `{self.stage}`. There are: {', '.join(self.Stage.values)}.", param="stage")
        if self.action not in kinds.ACTIONS[self.kind]:
            raise UnfitGuardrail(f"A guardrail of kind `{self.kind}` can {', '.join(kinds.ACTIONS[self.kind])}.", param="action")
        if self.kind == self.Kind.MODELS and self.stage != self.Stage.BEFORE:
            raise UnfitGuardrail("The model is known before the call: choose the stage `before`.", param="stage")

    def _set(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.check_fit()
        self._check_named(self.routes, self.keys)

    def _check_named(self, routes: Sequence[str], keys: Sequence[UUID]) -> None:
        from apps.gateway.models.route import Route

        for param, named, found in (
            ("routes", routes, Route.objects.within(self.tenant_id).filter(name__in=routes).values_list("name", flat=True)),
            ("keys", keys, ApiKey.objects.within(self.tenant_id).filter(id__in=keys).values_list("id", flat=True)),
        ):
            if len(named) > MOST_NAMED:
                raise UnfitGuardrail(f"At most {MOST_NAMED} can be named.", param=param)
            if missing := set(named) - set(found):
                raise UnfitGuardrail(f"There is no {param.removesuffix('s')} `{min(missing, key=str)}`.", param=param)

    def _new_secret(self) -> str:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        self.sealed = seal(secret, purpose=PURPOSE, tenant_id=self.tenant_id, row_id=self.id)
        return secret

    def _record(self, verb: str, by: Principal) -> None:
        detail = {"name": self.name, "kind": self.kind, "stage": self.stage, "action": self.action, "enabled": self.enabled}
        audit.record(by, verb=f"guardrail.{verb}", noun="guardrail", noun_id=self.id, detail=detail)


class GuardrailEvent(TenantModel):
    """A rule found something in a call. Its ids point at rows that may be gone; it is kept for 90 days."""

    at = models.DateTimeField(_("when"))
    call_id = models.UUIDField()
    guardrail_id = models.UUIDField()
    guardrail = models.TextField(_("guardrail"))
    stage = models.TextField(_("stage"))
    outcome = models.TextField(_("outcome"))
    counts = models.JSONField(_("found"))
    model = models.TextField(_("model"))
    api_key_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    unit = models.TextField(_("user"), null=True)  # noqa: DJ001 - nobody is no text

    class Meta:
        managed = False
        db_table = "gateway_guardrailevent"
        verbose_name = _("guardrail event")
        verbose_name_plural = _("guardrail events")

    def __str__(self) -> str:
        return f"{self.guardrail} {self.outcome}"
