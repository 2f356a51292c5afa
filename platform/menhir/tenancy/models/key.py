"""A program's credential. Its form is WIRE.md's: `mh_live_` + 30 random base62 characters + 6 of CRC-32 over what precedes."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Invalid
from menhir.tenancy.models.foundation import HotModel
from menhir.tenancy.models.tenant import Tenant
from menhir.tenancy.principal import SCOPES, Principal

if TYPE_CHECKING:
    from menhir.identity.models import User

PREFIX = "mh_live_"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARACTERS, CHECK_CHARACTERS = 30, 6
CHARACTERS = len(PREFIX) + RANDOM_CHARACTERS + CHECK_CHARACTERS
FORM = re.compile(rf"^{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECK_CHARACTERS}}}$")


class ApiKey(HotModel):
    """A key: shown once, kept as SHA-256 and its last four characters."""

    hot_kind: ClassVar[str] = "key"

    name = models.CharField(_("name"), max_length=80)
    hash = models.BinaryField(max_length=32, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    scopes = ArrayField(models.CharField(max_length=40), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [models.UniqueConstraint(fields=["tenant", "hash"], name="tenancy_apikey_hash")]
        indexes = [models.Index(fields=["hash"], name="tenancy_apikey_lookup")]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last_four})"

    @classmethod
    def issue(
        cls,
        tenant: Tenant,
        *,
        name: str,
        scopes: Collection[str] = SCOPES,
        expires_at: datetime | None = None,
        by: Principal | User | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key and return it with its plaintext, which nobody can read again.

        Raises Invalid for an unknown or no scope, an empty name, or an expiry in the past.
        """
        if not name.strip():
            raise Invalid("Give the key a name, so that you know later what it is for.", param="name")
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise Invalid(f"There is no scope {unknown[0]!r}. There are: {', '.join(SCOPES)}.", param="scopes")
        if not scopes:
            raise Invalid("A key without a scope could do nothing: choose at least one.", param="scopes")
        if expires_at is not None and expires_at <= timezone.now():
            raise Invalid("The expiry lies in the past.", param="expires_at")
        plaintext = generate()
        author = by.user_id if isinstance(by, Principal) else by.id if by is not None else None
        key = cls.objects.create(
            tenant=tenant,
            name=name.strip(),
            hash=hash_of(plaintext),
            last_four=plaintext[-4:],
            scopes=sorted(set(scopes), key=SCOPES.index),
            expires_at=expires_at,
            created_by_id=author,
        )
        return key, plaintext

    @property
    def is_live(self) -> bool:
        """Whether it opens the door now."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def revoke(self) -> None:
        """Refuse it everywhere, within a second and for good."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


def generate() -> str:
    """A new plaintext key."""
    body = PREFIX + "".join(secrets.choice(BASE62) for _position in range(RANDOM_CHARACTERS))
    return body + checksum(body)


def is_well_formed(plaintext: str) -> bool:
    """Whether a string is a key by its form and checksum: fakes are refused without asking the database.

    >>> is_well_formed("mh_live_" + "0" * 30 + checksum("mh_live_" + "0" * 30)), is_well_formed("sk-123")
    (True, False)
    """
    return FORM.match(plaintext) is not None and checksum(plaintext[:-CHECK_CHARACTERS]) == plaintext[-CHECK_CHARACTERS:]


def checksum(body: str) -> str:
    """CRC-32 of the characters before it, in six base62 digits."""
    value, digits = zlib.crc32(body.encode()), ""
    for _position in range(CHECK_CHARACTERS):
        value, digit = divmod(value, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def hash_of(plaintext: str) -> bytes:
    """What is kept of a key. It has 178 random bits: a slow hash would add nothing."""
    return hashlib.sha256(plaintext.encode()).digest()
