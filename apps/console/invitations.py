"""The letter that lets a person in: to somebody new, a link that works once and lets him choose a password."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.utils.translation import gettext

from menhir.identity.letters import password_link
from menhir.identity.models import User
from menhir.tenancy.http import TenantRequest

SMTP = "django.core.mail.backends.smtp.EmailBackend"
log = logging.getLogger(__name__)


def send(request: TenantRequest, user: User, *, is_new: bool) -> str:
    """Send the letter once the membership is committed.

    Returns the link to show to the admin instead, when this installation sends no mail and the person is new; else "". Where mail is
    sent, whoever opens the mailbox is the one who is let in, so the link is not shown to anybody else.
    """
    link = password_link(user) if is_new else f"{settings.MENHIR_PUBLIC_URL}/t/{request.tenant.slug}/"
    if not sends_mail():
        return link if is_new else ""
    words = {"tenant": request.tenant, "by": request.principal.name, "link": link, "is_new": is_new}
    letter = EmailMessage(
        subject=gettext("%(by)s added you to %(tenant)s") % {"by": request.principal.name, "tenant": request.tenant.name},
        body=render_to_string("console/people/letter.txt", words),
        to=[user.email],
    )
    transaction.on_commit(lambda: _deliver(letter))
    return ""


def sends_mail() -> bool:
    """Whether letters reach mailboxes; on one's own machine they are files instead."""
    return bool(settings.EMAIL_BACKEND == SMTP)


def _deliver(letter: EmailMessage) -> None:
    try:
        letter.send()
    except (SMTPException, OSError):
        # The person is in; “Forgotten?” on the sign-in page sends another letter.
        log.exception("an invitation could not be delivered")
