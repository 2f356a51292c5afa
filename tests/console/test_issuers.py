"""End users in the console: whose tokens are accepted, checked as a whole, with secrets that no page shows."""

from __future__ import annotations

from typing import Any

import pytest
from console.conftest import Console, words

from menhir.audit.models import Entry
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

SECRET = "a shared secret of more than 32 characters"
READING = {"user_claim": "sub", "scope_value": "inference", "leeway_seconds": "30", "longest_lifetime_seconds": "86400"}
SHARED = {"name": "Shop", "issuer": "https://shop.example.com/", "algorithms": ["HS256"], "secret": SECRET, **READING}


def issuer(console: Console, name: str) -> TokenIssuer | None:
    with tenant_transaction(console.owner.tenant):
        found: TokenIssuer | None = TokenIssuer.objects.within(console.owner.tenant).filter(name=name).first()
    return found


def test_an_issuer_is_named_changed_and_deleted(console: Console) -> None:
    browser = console.owner.browser()
    made = browser.post(console.at("end-users/new"), SHARED)
    assert made.status_code == 302
    place = made["location"]
    kept = issuer(console, "Shop")
    assert kept is not None
    assert (kept.audience, kept.has_secret, kept.created_by) == (f"menhir:{console.owner.tenant.slug}", True, console.owner.user)
    page = words(browser.get(place))
    assert "A shared secret is sealed here." in page
    assert SECRET not in page
    assert browser.post(place, {**SHARED, "audience": kept.audience, "secret": "", "leeway_seconds": "5"}).status_code == 302
    changed = issuer(console, "Shop")
    assert changed is not None
    assert (changed.leeway_seconds, changed.has_secret) == (5, True)
    listed = words(browser.get(console.at("end-users/?q=shop")))
    assert "a shared secret" in listed
    assert "https://shop.example.com/" in words(browser.get(f"{place}remove"))
    assert browser.post(f"{place}remove").status_code == 302
    assert issuer(console, "Shop") is None
    with tenant_transaction(console.owner.tenant):
        verbs = Entry.objects.within(console.owner.tenant).filter(noun="tokenissuer").order_by("at").values_list("verb", flat=True)
        assert list(verbs) == ["tokenissuer.created", "tokenissuer.changed", "tokenissuer.deleted"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"secret": "too short"}, "A shared secret has 32 to 1024 characters."),
        ({"secret": ""}, "Give one of three"),
        ({"algorithms": ["HS256", "RS256"]}, "HS256 stands alone: it is for a shared secret, the others for public keys."),
        ({"algorithms": ["none"]}, "Select a valid choice"),
        ({"audience": "menhir:other"}, "names a tenant"),
        ({"secret": "", "keys": "no key", "algorithms": ["RS256"]}, "key"),
        ({"issuer": "https://login.example.com/", "audience": ""}, "There is one with this issuer and this audience already."),
        ({"leeway_seconds": "900"}, "less than or equal to 120"),
        ({"longest_lifetime_seconds": "5"}, "greater than or equal to 60"),
    ],
)
def test_what_makes_no_sense_is_said_kept_and_not_written(console: Console, changes: dict[str, Any], complaint: str) -> None:
    answer = console.owner.browser().post(console.at("end-users/new"), {**SHARED, **changes})
    assert answer.status_code == 200
    assert complaint in words(answer)
    assert 'value="Shop"' in words(answer)
    assert SECRET not in words(answer)
    assert issuer(console, "Shop") is None


def test_a_stranger_neither_sees_nor_touches_it(console: Console, bob: Person, mallory: Person) -> None:
    for path in ("", "remove"):
        own = f"/t/{mallory.tenant.slug}/console/end-users/{console.issuer_id}/{path}"
        assert mallory.browser().get(own).status_code == 404
        assert mallory.browser().post(own, SHARED).status_code == 404
        assert bob.browser().post(console.at(f"end-users/{console.issuer_id}/{path}"), SHARED).status_code == 403
    assert issuer(console, "Sign-in") is not None
