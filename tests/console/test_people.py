"""People come in, change roles, and go; an owner is always kept."""

from __future__ import annotations

import re

from console.conftest import Console, words
from django.test import Client

from menhir.identity.models import User
from menhir.tenancy.middleware import places_of
from menhir.tenancy.principal import Role
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person, make_person

LINK = re.compile(r"http://[^\"]+/accounts/password/reset/key/[^\"]+")


def membership_of(person: Person) -> str:
    from menhir.tenancy.models import Membership

    with tenant_transaction(person.tenant):
        return str(Membership.objects.within(person.tenant).get(user=person.user).id)


def test_somebody_new_chooses_a_password_by_a_link_that_works_once(console: Console) -> None:
    email = f"dora-{console.owner.tenant.slug}@example.com"
    added = console.owner.browser().post(console.at("people/new"), {"email": email, "role": "admin"})
    link = LINK.search(words(added))[0]
    dora = Client(headers={"host": "localhost"})
    form = dora.get(link.split("/", 3)[3].join(["/", ""]), follow=True)
    new = {"password1": "a fine new passphrase", "password2": "a fine new passphrase"}
    assert dora.post(form.request["PATH_INFO"], new).status_code == 302
    user = User.objects.get(email=email)
    assert user.check_password(new["password1"])
    assert [(place.slug, place.role) for place in places_of(user)] == [(console.owner.tenant.slug, Role.ADMIN)]
    again = Client(headers={"host": "localhost"}).get(link.split("/", 3)[3].join(["/", ""]), follow=True)
    assert "invalid" in words(again)


def test_somebody_known_is_added_without_a_link(console: Console, mallory: Person) -> None:
    added = console.owner.browser().post(console.at("people/new"), {"email": mallory.email.upper(), "role": "member"})
    assert LINK.search(words(added)) is None
    assert {place.slug for place in places_of(mallory.user)} == {mallory.tenant.slug, console.owner.tenant.slug}
    twice = console.owner.browser().post(console.at("people/new"), {"email": mallory.email, "role": "member"})
    assert "is in already" in words(twice)


def test_the_last_owner_stays(console: Console) -> None:
    browser = console.owner.browser()
    assert "at least one owner" in words(browser.post(console.at(f"people/{console.membership.id}"), {"role": "member"}, follow=True))
    assert "at least one owner" in words(browser.post(console.at(f"people/{console.membership.id}/remove"), follow=True))
    assert console.membership.role == Role.OWNER


def test_an_admin_decides_about_members_and_not_about_owners(console: Console, bob: Person) -> None:
    browser = make_person("carol", console.owner.tenant, Role.ADMIN).browser()
    assert "Only an owner" in words(browser.post(console.at(f"people/{console.membership.id}"), {"role": "member"}, follow=True))
    assert "Only an owner" in words(browser.post(console.at(f"people/{membership_of(bob)}"), {"role": "owner"}, follow=True))
    assert "Only an owner" in words(browser.post(console.at(f"people/{console.membership.id}/remove"), follow=True))
    browser.post(console.at(f"people/{membership_of(bob)}"), {"role": "admin"})
    assert [place.role for place in places_of(bob.user)] == [Role.ADMIN]
    owner_by_form = browser.post(console.at("people/new"), {"email": "eve@example.com", "role": "owner"})
    assert "Select a valid choice" in words(owner_by_form)


def test_who_is_removed_is_out(console: Console, bob: Person) -> None:
    console.owner.browser().post(console.at(f"people/{membership_of(bob)}/remove"))
    assert places_of(bob.user) == []
    assert bob.browser().get(f"/t/{bob.tenant.slug}/").status_code == 404
