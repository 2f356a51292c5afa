"""The link with which a person chooses a password."""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.urls import reverse

from menhir.identity.models import User


def password_link(user: User) -> str:
    """An address that works once. Whoever opens it becomes this person: hand it to nobody else."""
    parts = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return f"{settings.MENHIR_PUBLIC_URL}{reverse('account_reset_password_from_key', kwargs=parts)}"
