"""The person."""

from __future__ import annotations

from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Invalid
from menhir.postgres.ids import uuid7


class UserManager(BaseUserManager["User"]):
    """Makes people, known by their e-mail address."""

    def create_user(self, email: str, password: str | None = None, *, name: str = "", is_staff: bool = False) -> User:
        """A person with a verified address; without a password he can only follow a reset link. Raises Invalid for no address."""
        if "@" not in email:
            raise Invalid("Enter an e-mail address.", param="email")
        user = self.model(email=email.strip().lower(), name=name, is_staff=is_staff, is_superuser=is_staff)
        user.set_password(password)
        with transaction.atomic(using=self._db):
            user.save(using=self._db)
            # Somebody who may add people has vouched for it: allauth must not ask again.
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """Sign-in does not care for the case of an address."""
        return self.get(email__iexact=username)

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An operator: a person who may enter /staff/."""
        return self.create_user(email, password, is_staff=True)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. He signs in by e-mail address and belongs to tenants by memberships."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("e-mail address"))
    name = models.CharField(_("name"), max_length=120, blank=True)
    is_staff = models.BooleanField(_("operator"), default=False, help_text=_("May enter the staff admin."))
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("joined"), default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        constraints = [models.UniqueConstraint(Lower("email"), name="identity_user_email")]

    def __str__(self) -> str:
        return self.email

    @property
    def display_name(self) -> str:
        """What to call him: his name, else what stands before the @."""
        return self.name or self.email.partition("@")[0]

    get_full_name = get_short_name = lambda self: self.display_name
