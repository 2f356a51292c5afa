"""A key is shown once, works, and is refused once revoked."""

from __future__ import annotations

import re

import pytest
from console.conftest import Console, words

from menhir.errors import Unauthenticated
from menhir.tenancy.authentication import principal_of_key_now

PLAINTEXT = re.compile(r"mh_live_[0-9A-Za-z]{36}")


def test_a_new_key_is_shown_once_and_works(console: Console) -> None:
    browser = console.owner.browser()
    made = browser.post(console.at("keys/new"), {"name": "Widget", "scopes": ["inference", "usage:read"], "lifetime": "30"})
    plaintext = PLAINTEXT.search(words(made))[0]
    assert made["cache-control"].startswith("max-age=0")
    principal = principal_of_key_now(plaintext)
    assert (principal.name, principal.scopes) == ("Widget", frozenset({"inference", "usage:read"}))
    page = words(browser.get(console.at("keys/")))
    assert plaintext not in page
    assert plaintext[-4:] in page
    assert "Widget" in page


def test_revoking_names_what_it_destroys_and_is_done_by_post(console: Console) -> None:
    browser, address = console.owner.browser(), console.at(f"keys/{console.key.id}/revoke")
    made = browser.post(console.at("keys/new"), {"name": "Short-lived", "scopes": ["inference"], "lifetime": ""})
    plaintext = PLAINTEXT.search(words(made))[0]
    assert console.key.last_four in words(browser.get(address))
    principal_of_key_now(plaintext)
    key_id = principal_of_key_now(plaintext).id
    assert browser.post(console.at(f"keys/{key_id}/revoke")).status_code == 302
    with pytest.raises(Unauthenticated):
        principal_of_key_now(plaintext)
    assert "Short-lived" not in words(browser.get(console.at("keys/"))).replace("“Short-lived” is revoked", "")
    assert "Short-lived" in words(browser.get(console.at("keys/?show=all")))


def test_a_key_without_a_scope_is_refused_at_its_field(console: Console) -> None:
    refused = console.owner.browser().post(console.at("keys/new"), {"name": "Nothing", "lifetime": ""})
    assert "This field is required." in words(refused)
    assert PLAINTEXT.search(words(refused)) is None


def test_the_list_is_searched_sorted_and_exported(console: Console) -> None:
    browser = console.owner.browser()
    for name in ("Zebra", "=cmd()"):
        browser.post(console.at("keys/new"), {"name": name, "scopes": ["inference"], "lifetime": ""})
    assert "Zebra" not in words(browser.get(console.at("keys/?q=websi")))
    assert "Nothing matches" in words(browser.get(console.at("keys/?q=%00nowhere")))
    page = words(browser.get(console.at("keys/?sort=-name")))
    assert page.index("Zebra") < page.index("Website")
    assert browser.get(console.at("keys/?sort=hash&page=-3")).status_code == 200
    exported = browser.get(console.at("keys/?format=csv"))
    assert exported["content-type"].startswith("text/csv")
    assert "'=cmd()" in words(exported)
    assert "hash" not in words(exported)
