"""Who signs the tokens with which a tenant's end users come."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict, Invalid
from menhir.tenancy import keysets, outbound, sealing
from menhir.tenancy.models.foundation import HotModel
from menhir.tenancy.models.tenant import Tenant

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SHARED = "HS256"
ALGORITHMS = (*ASYMMETRIC, SHARED)
AUDIENCE_PREFIX = "menhir:"
PURPOSE = "menhir.tenancy.issuer"
LONGEST_LEEWAY_SECONDS = 120
MOST_ISSUER_CHARACTERS = 500
MOST_PREFIX_CHARACTERS = 40
MOST_KEY_CHARACTERS = 64 * 1024
LEAST_SECRET_CHARACTERS, MOST_SECRET_CHARACTERS = 32, 1024
YEAR_SECONDS = 366 * 24 * 3600


class TokenIssuer(HotModel):
    """An identity provider whose tokens a tenant accepts at `/v1`, and how they are read.

    It holds one of three: public keys (PEM or JWKS), the URL of a JWKS document, or a shared secret, sealed to this row.
    """

    hot_kind: ClassVar[str] = "issuer"

    name = models.CharField(_("name"), max_length=80)
    issuer = models.CharField(_("issuer"), max_length=MOST_ISSUER_CHARACTERS, help_text=_("What its tokens say in `iss`, to the letter."))
    audience = models.CharField(
        _("audience"),
        max_length=200,
        blank=True,
        help_text=_("What its tokens say in `aud`; empty for “menhir:” and the tenant's short name."),
    )
    algorithms = ArrayField(
        models.CharField(max_length=10), verbose_name=_("algorithms"), help_text=_("Such as RS256 or ES256; HS256 for a shared secret.")
    )
    keys = models.TextField(_("public keys"), blank=True, help_text=_("One in PEM, or a JWKS document."))
    keys_url = models.CharField(_("URL of the keys"), max_length=500, blank=True, help_text=_("Of a JWKS document, with https."))
    sealed = sealing.SealedField(_("sealed secret"), purpose=PURPOSE, null=True, blank=True, editable=False)
    user_claim = models.CharField(_("claim that names the user"), max_length=80, default="sub")
    user_prefix = models.CharField(
        _("put before its users' names"),
        max_length=MOST_PREFIX_CHARACTERS,
        blank=True,
        default="",
        help_text=_("So that equal names of two issuers are two users; empty: who has the same name is the same user."),
    )
    scope_claim = models.CharField(
        _("claim that holds scopes"), max_length=80, blank=True, help_text=_("Empty: each of its tokens may call models.")
    )
    scope_value = models.CharField(
        _("scope that lets call models"), max_length=80, blank=True, default="inference", help_text=_("As the token calls it.")
    )
    models_claim = models.CharField(
        _("claim that lists models"), max_length=80, blank=True, help_text=_("Empty: its users may use every model of the tenant.")
    )
    leeway_seconds = models.PositiveSmallIntegerField(
        _("clock skew, in seconds"), default=30, validators=[MaxValueValidator(LONGEST_LEEWAY_SECONDS)]
    )
    longest_lifetime_seconds = models.PositiveIntegerField(
        _("longest life of a token, in seconds"), default=24 * 3600, validators=[MinValueValidator(60), MaxValueValidator(YEAR_SECONDS)]
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", editable=False)

    class Meta:
        verbose_name = _("token issuer")
        verbose_name_plural = _("token issuers")
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "issuer", "audience"], name="tenancy_tokenissuer_audience")]

    def __str__(self) -> str:
        return self.name

    @property
    def has_secret(self) -> bool:
        """Whether a shared secret is stored."""
        return self.sealed is not None

    def set_secret(self, secret: str) -> None:
        """Seal a shared secret into this row, replacing the one before; an empty one takes it away. It is saved by `keep()`."""
        check_secret(secret)
        self.sealed = sealing.seal(secret, purpose=PURPOSE, tenant_id=self.tenant_id, row_id=self.id) if secret else None

    def keep(self) -> None:
        """Save it, once it makes sense. Raises Invalid, naming the field, or Conflict beside another of the same issuer and audience."""
        self.audience = self.audience or audience_of(self.tenant)
        self.check_sense(has_secret=self.has_secret)
        try:
            with transaction.atomic():
                self.save()
        except IntegrityError as e:
            raise Conflict("There is one with this issuer and this audience already.", param="issuer") from e

    def prefix_apart(self) -> str:
        """What keeps its users apart from those of the tenant's other issuers.

        Nothing for the first one, whose users go by their plain names; what its sibling has, where another audience of the same issuer is
        accepted already, for they are the same people.
        """
        others = list(TokenIssuer.objects.within(self.tenant_id).exclude(id=self.id).order_by("created_at", "id"))
        if not others:
            return ""
        sibling = next((other for other in others if other.issuer == self.issuer), None)
        if sibling is not None:
            return str(sibling.user_prefix)
        taken = {other.user_prefix for other in others}
        word = slugify(self.name)[: MOST_PREFIX_CHARACTERS - 4] or "issuer"
        return next(prefix for number in count(1) if (prefix := f"{word}{number if number > 1 else ''}:") not in taken)

    def check_sense(self, *, has_secret: bool) -> None:
        """Raise Invalid, naming the field, unless tokens can be judged by it without a doubt."""
        if not self.name.strip():
            raise Invalid("Give the issuer a name.", param="name")
        if not self.issuer or not self.issuer.isprintable():
            raise Invalid("Give what its tokens say in `iss`.", param="issuer")
        if not self.user_claim:
            raise Invalid("Name the claim that names the user.", param="user_claim")
        if not self.user_prefix.isprintable():
            raise Invalid("Use characters that can be printed.", param="user_prefix")
        if self.audience.startswith(AUDIENCE_PREFIX) and self.audience != audience_of(self.tenant):
            raise Invalid(
                f"An audience that begins with `{AUDIENCE_PREFIX}` names a tenant: yours is {audience_of(self.tenant)}.", param="audience"
            )
        if self.leeway_seconds > LONGEST_LEEWAY_SECONDS:
            raise Invalid(f"At most {LONGEST_LEEWAY_SECONDS} seconds of clock skew.", param="leeway_seconds")
        if self.scope_claim and not self.scope_value:
            raise Invalid("Say what the claim must hold for calling models.", param="scope_value")
        self._check_algorithms()
        self._check_key(has_secret=has_secret)

    def _check_algorithms(self) -> None:
        if not self.algorithms:
            raise Invalid(f"Name at least one algorithm of {', '.join(ALGORITHMS)}.", param="algorithms")
        if unknown := [algorithm for algorithm in self.algorithms if algorithm not in ALGORITHMS]:
            raise Invalid(f"There is no algorithm {unknown[0]!r} here. There are: {', '.join(ALGORITHMS)}.", param="algorithms")
        if SHARED in self.algorithms and len(self.algorithms) > 1:
            # A public key must never be taken for a shared secret: whoever reads it could sign.
            raise Invalid(f"{SHARED} stands alone: it is for a shared secret, the others for public keys.", param="algorithms")

    def _check_key(self, *, has_secret: bool) -> None:
        given = [bool(self.keys), bool(self.keys_url), has_secret]
        if sum(given) != 1:
            raise Invalid("Give one of three: public keys, the URL of a JWKS document, or a shared secret.", param="keys")
        if has_secret != (self.algorithms == [SHARED]):
            raise Invalid(f"{SHARED} goes with a shared secret, every other algorithm with public keys.", param="algorithms")
        if self.keys:
            if len(self.keys) > MOST_KEY_CHARACTERS:
                raise Invalid(f"At most {MOST_KEY_CHARACTERS} characters of keys.", param="keys")
            found = keysets.parse(self.keys)
            if not any(key.fits(algorithm) for key in found.keys for algorithm in self.algorithms):
                raise Invalid("None of the keys fits one of the algorithms.", param="keys")
        if self.keys_url:
            outbound.check(self.keys_url, param="keys_url")

    def clean(self) -> None:
        """Django's word for it, for forms; a secret that was typed and is not sealed yet counts."""
        self.audience = self.audience or audience_of(self.tenant)
        try:
            self.check_sense(has_secret=self.has_secret or bool(getattr(self, "typed_secret", "")))
        except Invalid as e:
            field = e.param if e.param in {one.name for one in self._meta.local_fields} else None
            raise ValidationError({field: e.message} if field else e.message) from e


def audience_of(tenant: Tenant) -> str:
    """What a token says in `aud` to name this tenant."""
    return AUDIENCE_PREFIX + tenant.slug


def check_secret(secret: str) -> None:
    """Raise Invalid for a shared secret that anybody could guess; an empty one is none."""
    if secret and not LEAST_SECRET_CHARACTERS <= len(secret) <= MOST_SECRET_CHARACTERS:
        raise Invalid(f"A shared secret has {LEAST_SECRET_CHARACTERS} to {MOST_SECRET_CHARACTERS} characters.", param="secret")
