"""How allauth behaves here: nobody signs himself up."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from menhir.identity import letters


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """People are added to a tenant by its owner or by an operator."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def populate_username(self, request: HttpRequest, user: Any) -> None:
        """There are no user names."""

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        """With a link to where we know that we are, whatever host the request named; it proves the address that it was mailed to."""
        is_his = email.lower() == user.email.lower()
        link = letters.mailed_link(user) if is_his else letters.shown_link(user)
        super().send_password_reset_mail(user, email, {**context, "password_reset_url": link})
