"""Who may look into a tenant's console."""

from __future__ import annotations

from console.conftest import Console, words
from django.test import Client

from stage.cast import Person


def test_an_owner_sees_every_page(console: Console) -> None:
    browser = console.owner.browser()
    assert {page: browser.get(page).status_code for page in console.pages} == dict.fromkeys(console.pages, 200)


def test_a_member_is_told_that_these_pages_are_for_admins(console: Console, bob: Person) -> None:
    browser = bob.browser()
    answers = {page: browser.get(page) for page in console.pages}
    assert {page: answer.status_code for page, answer in answers.items()} == dict.fromkeys(console.pages, 403)
    assert "This page is for admins" in words(answers[console.at()])
    assert not any("Website" in words(answer) for answer in answers.values())


def test_a_stranger_finds_nothing(console: Console, mallory: Person) -> None:
    browser = mallory.browser()
    answers = {page: browser.get(page) for page in console.pages}
    assert {page: answer.status_code for page, answer in answers.items()} == dict.fromkeys(console.pages, 404)
    assert not any("Acme" in words(answer) for answer in answers.values())


def test_a_stranger_finds_nothing_of_acme_in_his_own_console(console: Console, mallory: Person) -> None:
    browser, own = mallory.browser(), f"/t/{mallory.tenant.slug}/console/"
    foreign = [
        page.replace(console.at(), own) for page in console.pages if any(part in page for part in ("greeting", "handbook", "docs", "-"))
    ]
    # What is kept of one's own calls is everybody's own page, about no noun.
    foreign = [page for page in foreign if page.count("/") > 5 and "/calls/texts/" not in page]
    assert foreign
    assert {page: browser.get(page).status_code for page in foreign} == dict.fromkeys(foreign, 404)


def test_signed_out_one_is_sent_to_sign_in(console: Console) -> None:
    for page in console.pages:
        answer = Client(headers={"host": "localhost"}).get(page)
        assert (answer.status_code, answer["location"].split("?")[0]) == (302, "/accounts/login/")


def test_deeds_are_refused_to_others(console: Console, bob: Person, mallory: Person) -> None:
    deeds = [
        "keys/new",
        f"keys/{console.key.id}/revoke",
        "people/new",
        f"people/{console.membership.id}",
        "prompts/greeting/save",
        "prompts/greeting/versions/2/release",
        "prompts/greeting/archive",
        "assistants/new",
        "assistants/docs/",
        "collections/handbook/",
        "collections/handbook/remove",
        f"documents/{console.document.id}/retry",
        f"documents/{console.document.id}/remove",
    ]
    for person, status in ((bob, 403), (mallory, 404)):
        browser = person.browser()
        assert {deed: browser.post(console.at(deed)).status_code for deed in deeds} == dict.fromkeys(deeds, status)


def test_a_credential_is_never_shown(console: Console) -> None:
    assert "sk-a-secret" not in words(console.owner.browser().get(console.at("models/")))


def test_pages_ask_for_no_inline_code(console: Console) -> None:
    answer = console.owner.browser().get(console.at())
    assert "script-src 'self'" in answer["content-security-policy"]
    assert "unsafe" not in answer["content-security-policy"]
    assert " style=" not in words(answer)
    assert "onclick" not in words(answer)


def test_nobody_on_the_way_keeps_what_a_tenant_sees(console: Console) -> None:
    pages = [*console.pages, f"/t/{console.owner.tenant.slug}/"]
    browser = console.owner.browser()
    kept = {page: browser.get(page)["cache-control"] for page in pages}
    assert all("private" in policy for policy in kept.values()), kept
    assert "private" in console.owner.api().get("/api/v1/collections")["cache-control"]
