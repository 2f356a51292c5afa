"""Whose address it is: nobody comes into a tenant by an account that somebody else asked for first."""

from __future__ import annotations

import re

import pytest
from console.conftest import Console, words
from console.test_people import LINK
from django.core import mail
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse

from apps.console.invitations import SMTP
from menhir.identity import letters
from menhir.identity.models import User
from menhir.tenancy.middleware import places_of

from stage.cast import Person

NEW = "a fine new passphrase"


@pytest.fixture
def posted(monkeypatch):
    """Letters are posted, and caught."""
    mail.outbox = []
    monkeypatch.setattr("django.core.mail.message.EmailMessage.send", lambda letter, **_: mail.outbox.append(letter))
    with override_settings(EMAIL_BACKEND=SMTP):
        yield mail.outbox


def follow(link: str, password: str = NEW) -> Client:
    """Open a link as a stranger's browser does, and choose a password."""
    browser = Client(headers={"host": "localhost"})
    form = browser.get("/" + link.split(maxsplit=1)[0].split("/", 3)[3], follow=True)
    assert browser.post(form.request["PATH_INFO"], {"password1": password, "password2": password}).status_code == 302
    return browser


def add(person: Person, email: str) -> str:
    return words(person.browser().post(f"/t/{person.tenant.slug}/console/people/new", {"email": email, "role": "member"}))


def claimed(mallory: Person) -> str:
    """An address that mallory added first, and whose link she kept for herself."""
    email = f"victim-{mallory.tenant.slug}@example.com"
    follow(LINK.search(add(mallory, email))[0], "mallory chose this one")
    return email


def test_whoever_asked_first_does_not_come_into_another_tenant(console: Console, mallory: Person) -> None:
    email = claimed(mallory)
    refused = add(console.owner, email)
    assert "nobody has proven yet" in refused
    assert LINK.search(refused) is None
    assert [place.slug for place in places_of(User.objects.get(email=email))] == [mallory.tenant.slug]


def test_a_link_that_was_shown_proves_nothing_and_one_that_was_mailed_does(mallory: Person, posted) -> None:
    first, second = (User.objects.create_user(f"{word}-{mallory.tenant.slug}@example.com") for word in ("shown", "mailed"))
    follow(letters.shown_link(first))
    follow(letters.mailed_link(second))
    assert [User.objects.get(id=user.id).is_proven for user in (first, second)] == [False, True]


def test_a_letter_takes_the_account_back(console: Console, mallory: Person, posted) -> None:
    from allauth.account.models import EmailAddress
    from allauth.mfa.models import Authenticator

    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        email = claimed(mallory)
    victim = User.objects.get(email=email)
    Authenticator.objects.create(user=victim, type="totp", data={})
    EmailAddress.objects.create(user=victim, email=f"way-back-{mallory.email}", verified=True)
    held = Client(headers={"host": "localhost"})
    assert held.login(email=email, password="mallory chose this one") or held.force_login(victim) is None
    assert "sent a letter" in add(console.owner, email)
    (letter,) = posted
    assert letter.to == [email]
    follow(LINK.search(letter.body)[0])
    victim.refresh_from_db()
    assert victim.is_proven
    assert victim.check_password(NEW)
    assert list(EmailAddress.objects.filter(user=victim).values_list("email", flat=True)) == [email]
    assert not Authenticator.objects.filter(user=victim).exists()
    assert held.get(f"/t/{mallory.tenant.slug}/").status_code == 302
    assert "has an account already" in add(console.owner, email)


def test_an_invitation_by_mail_proves_the_address(console: Console, mallory: Person, posted) -> None:
    email = f"dora-{mallory.tenant.slug}@example.com"
    assert LINK.search(add(mallory, email)) is None
    follow(LINK.search(posted[0].body)[0])
    assert User.objects.get(email=email).is_proven
    assert "has an account already" in add(console.owner, email)


def test_a_forgotten_password_proves_the_address_too_and_names_our_own_host(mallory: Person, posted) -> None:
    user = User.objects.create_user(f"erin-{mallory.tenant.slug}@example.com", "an old passphrase")
    Client(headers={"host": "[::1]"}).post(reverse("account_reset_password"), {"email": user.email})
    (letter,) = posted
    link = re.search(r"https?://\S+", letter.body)[0]
    assert link.startswith("http://127.0.0.1:")
    follow(link)
    assert User.objects.get(id=user.id).is_proven


def test_nobody_confirms_or_changes_an_address_by_himself(mallory: Person) -> None:
    browser = mallory.browser()
    for path in ("/accounts/email/", "/accounts/confirm-email/", "/accounts/confirm-email/abc/"):
        assert browser.get(path).status_code == browser.post(path).status_code == 404


def test_an_operator_vouches_and_whoever_held_the_account_is_out(mallory: Person) -> None:
    email = claimed(mallory)
    operator = User.objects.create_superuser(f"olga-{mallory.tenant.slug}@example.com")
    browser = Client(headers={"host": "localhost"})
    browser.force_login(operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    victim = User.objects.get(email=email)
    page = browser.post(reverse("admin:identity_user_changelist"), {"action": "vouch", "_selected_action": [str(victim.id)]}, follow=True)
    assert "/accounts/password/reset/key/" in words(page)
    victim.refresh_from_db()
    assert victim.is_proven
    assert not victim.has_usable_password()


def test_an_operator_who_makes_a_tenant_for_an_unproven_person_gives_him_a_new_password(mallory: Person, capsys) -> None:
    import json

    email = claimed(mallory)
    call_command("tenant", "create", f"t-{mallory.tenant.slug}", "--owner", email, "--json")
    made = json.loads(capsys.readouterr().out)
    victim = User.objects.get(email=email)
    assert victim.is_proven
    assert victim.check_password(made["password"])
    call_command("tenant", "create", f"u-{mallory.tenant.slug}", "--owner", email, "--json")
    assert json.loads(capsys.readouterr().out)["password"] is None


def test_an_operator_who_corrects_an_address_leaves_the_old_one_no_way_in(mallory: Person, posted) -> None:
    operator = User.objects.create_superuser(f"olga-{mallory.tenant.slug}@example.com")
    browser = Client(headers={"host": "localhost"})
    browser.force_login(operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    before, after = mallory.email, f"new-{mallory.email}"
    given = {"email": after, "name": "Mallory", "is_active": "on"}
    assert browser.post(reverse("admin:identity_user_change", args=[mallory.user.id]), given).status_code == 302
    assert User.objects.get(id=mallory.user.id).is_proven
    Client(headers={"host": "localhost"}).post(reverse("account_reset_password"), {"email": before})
    assert not any("/reset/key/" in letter.body for letter in posted)


def test_a_name_with_a_line_break_forges_no_header(mallory: Person, posted) -> None:
    mallory.user.name = "Mallory\nBcc: everybody@example.com"
    mallory.user.save()
    add(mallory, f"dora-{mallory.tenant.slug}@example.com")
    assert "\n" not in posted[0].subject
    assert posted[0].message()["Bcc"] is None
