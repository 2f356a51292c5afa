"""The links with which a person chooses a password, and which of them prove that the address is his.

A link that is shown to somebody else (to an admin, where no mail is sent) lets in whoever holds it. A link that was mailed lets in
whoever reads that mailbox, and so proves the address. The two are signed differently; each works once.
"""

from __future__ import annotations

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.urls import reverse

from menhir.identity.models import User


class ShownTokens(PasswordResetTokenGenerator):
    """Tokens that prove nothing."""

    key_salt = "menhir.identity.letters.shown"


class MailedTokens(PasswordResetTokenGenerator):
    """Tokens that nobody saw but the reader of a mailbox."""

    key_salt = "menhir.identity.letters.mailed"


class AnyTokens(MailedTokens):
    """What allauth asks: it mails those that it makes, and takes both."""

    def check_token(self, user: User | None, token: str | None) -> bool:
        """Whether the token opens this account, however it came."""
        return super().check_token(user, token) or shown.check_token(user, token)


shown, mailed = ShownTokens(), MailedTokens()


def shown_link(user: User) -> str:
    """A link that somebody else hands over. Whoever opens it becomes this person."""
    return _address(user, shown.make_token(user))


def mailed_link(user: User) -> str:
    """A link to be written into a letter to this person's own address, and to be shown nowhere."""
    return _address(user, mailed.make_token(user))


def _address(user: User, key: str) -> str:
    parts = {"uidb36": user_pk_to_url_str(user), "key": key}
    return f"{settings.MENHIR_PUBLIC_URL}{reverse('account_reset_password_from_key', kwargs=parts)}"
