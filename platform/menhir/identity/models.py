"""The person."""

from __future__ import annotations

from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict, Invalid
from menhir.postgres.ids import uuid7


class UserManager(BaseUserManager["User"]):
    """Makes people, known by their e-mail address."""

    def create_user(
        self, email: str, password: str | None = None, *, name: str = "", is_staff: bool = False, is_proven: bool = False
    ) -> User:
        """A person; without a password he can only follow a link. Raises Invalid for no address, Conflict for somebody's.

        `is_proven` says that the address is known to be his: an operator vouches for it. An admin of a tenant cannot: whoever asks
        for an account first would have it, whosever the address is.
        """
        if "@" not in email:
            raise Invalid("Enter an e-mail address.", param="email")
        user = self.model(email=email.strip().lower(), name=name, is_staff=is_staff, is_superuser=is_staff)
        user.set_password(password)
        try:
            with transaction.atomic(using=self._db):
                user.save(using=self._db)
                EmailAddress.objects.create(user=user, email=user.email, verified=is_proven, primary=True)
        except IntegrityError as e:
            raise Conflict("Somebody has this address already.", param="email") from e
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """Sign-in does not care for the case of an address."""
        return self.get(email__iexact=username)

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An operator: a person who may enter /staff/."""
        return self.create_user(email, password, is_staff=True, is_proven=True)


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

    @property
    def is_proven(self) -> bool:
        """Whether somebody showed that the address is his: by a link that was mailed to it, or an operator vouched for it."""
        return bool(EmailAddress.objects.filter(user=self, email__iexact=self.email, verified=True).exists())

    def prove(self) -> None:
        """Count the address as his from now on; whoever calls this has just given the account a new password, or none.

        Until now somebody else may have held the account. Every other way in that he could have left behind goes.
        """
        from allauth.mfa.models import Authenticator
        from allauth.socialaccount.models import SocialAccount

        with transaction.atomic():
            for ways_in in (Authenticator, SocialAccount, EmailAddress):
                ways_in.objects.filter(user=self).delete()
            EmailAddress.objects.create(user=self, email=self.email, verified=True, primary=True)

    get_full_name = get_short_name = lambda self: self.display_name
