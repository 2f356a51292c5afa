"""The form at the end of a link."""

from __future__ import annotations

from allauth.account.forms import ResetPasswordKeyForm
from django.db import transaction

from menhir.identity.letters import mailed


class ChoosePassword(ResetPasswordKeyForm):  # type: ignore[misc]
    """Sets the password; where the link was mailed, the address is proven by it."""

    def save(self) -> None:
        """Both or neither. Sessions that others hold end with the old password."""
        proves = mailed.check_token(self.user, self.temp_key) and not self.user.is_proven  # the token dies with the old password
        with transaction.atomic():
            super().save()
            if proves:
                self.user.prove()
