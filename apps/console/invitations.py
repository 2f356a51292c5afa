"""The letter that lets a person in: to somebody new, a link that works once and lets him choose a password."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.utils.translation import gettext

from menhir.identity.letters import mailed_link, shown_link
from menhir.identity.models import User
from menhir.tenancy.http import TenantRequest

SMTP = "django.core.mail.backends.smtp.EmailBackend"
log = logging.getLogger(__name__)


def send(request: TenantRequest, user: User, *, is_new: bool) -> str:
    """Send the letter once the membership is committed.

    Returns the link to show to the admin instead, when this installation sends no mail and the person is new; else "". Where mail is
    sent, whoever opens the mailbox is the one who is let in, so the link is not shown to anybody else.
    """
    if not sends_mail():
        return shown_link(user) if is_new else ""
    link = mailed_link(user) if is_new else f"{settings.MENHIR_PUBLIC_URL}/t/{request.tenant.slug}/"
    words = {"tenant": request.tenant, "by": request.principal.name, "link": link, "is_new": is_new}
    subject = gettext("%(by)s added you to %(tenant)s") % {"by": request.principal.name, "tenant": request.tenant.name}
    _post(user, subject, render_to_string("console/people/letter.txt", words))
    return ""


def refusal_of_unproven(user: User) -> str:
    """Why somebody cannot be added whose account may be in other hands, and what to do; where mail is sent, the first step is done here."""
    if not sends_mail():
        return gettext(
            "There is an account with this address, and nobody has proven yet that it is his. "
            "Ask whoever operates this installation to vouch for it in the staff pages, then add the person here."
        )
    body = render_to_string("console/people/proof.txt", {"link": mailed_link(user), "email": user.email})
    _post(user, gettext("Is this your address?"), body)
    return gettext(
        "There is an account with this address, and nobody has proven yet that it is his. "
        "We have sent a letter there: once its link has been followed, add the person here again."
    )


def _post(user: User, subject: str, body: str) -> None:
    # A name may hold anything, a subject is one line.
    letter = EmailMessage(subject=" ".join(subject.split()), body=body, to=[user.email])
    transaction.on_commit(lambda: _deliver(letter))


def sends_mail() -> bool:
    """Whether letters reach mailboxes; on one's own machine they are files instead."""
    return bool(settings.EMAIL_BACKEND == SMTP)


def _deliver(letter: EmailMessage) -> None:
    try:
        letter.send()
    except (SMTPException, OSError):
        # The person is in; “Forgotten?” on the sign-in page sends another letter.
        log.exception("an invitation could not be delivered")
