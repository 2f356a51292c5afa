"""A person's place in a tenant."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict
from menhir.tenancy.models.foundation import TenantModel
from menhir.tenancy.principal import Role


class Membership(TenantModel):
    """A person is in a tenant, with a role."""

    ROLES = ((Role.OWNER.value, _("owner")), (Role.ADMIN.value, _("admin")), (Role.MEMBER.value, _("member")))

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("person"))
    role = models.CharField(_("role"), max_length=10, choices=ROLES, default=Role.MEMBER.value)
    created_at = models.DateTimeField(_("since"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="tenancy_membership_once")]
        indexes = [models.Index(fields=["user"], name="tenancy_membership_of_user")]

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"

    def become(self, role: Role) -> None:
        """Change the role. Raises Conflict when a tenant would be left without an owner."""
        if role == self.role:
            return
        self._keep_an_owner(role != Role.OWNER)
        self.role = role
        self.save(update_fields=["role"])

    def end(self) -> None:
        """Leave the tenant. Raises Conflict when it would be left without an owner."""
        self._keep_an_owner(losing=True)
        self.delete()

    def _keep_an_owner(self, losing: bool) -> None:  # noqa: FBT001
        if losing and self.role == Role.OWNER:
            # Locked, so that two owners cannot step down past each other.
            owners = Membership.objects.within(self.tenant_id).filter(role=Role.OWNER).select_for_update(no_key=True)
            if len(owners) == 1:
                raise Conflict("A tenant keeps at least one owner. Make somebody else an owner first.")
