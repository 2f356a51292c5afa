"""The tenant itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict, Invalid
from menhir.postgres.ids import uuid7

if TYPE_CHECKING:
    from menhir.identity.models import User

MOST_SLUG_CHARACTERS = 40
SLUG = RegexValidator(r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$", _("Use up to 40 lower-case letters, digits and hyphens."))


class Tenant(models.Model):
    """An organisation whose people, prompts, documents and money are its own."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(_("short name"), max_length=MOST_SLUG_CHARACTERS, unique=True, validators=[SLUG])
    name = models.CharField(_("name"), max_length=120)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def found(cls, *, slug: str, name: str, owner: User) -> Tenant:
        """Create a tenant with its first owner. Raises Invalid for a bad slug, Conflict for a taken one."""
        from django.core.exceptions import ValidationError
        from django.db import IntegrityError

        from menhir.tenancy.models.membership import Membership
        from menhir.tenancy.principal import Role
        from menhir.tenancy.transaction import tenant_transaction

        try:
            SLUG(slug)
        except ValidationError as e:
            raise Invalid(e.messages[0], param="slug") from e
        tenant = cls(slug=slug, name=name or slug)
        try:
            with tenant_transaction(tenant.id):
                tenant.save(force_insert=True)
                Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
        except IntegrityError as e:
            raise Conflict(f"There is a tenant named {slug!r} already.", param="slug") from e
        return tenant
