"""Assistants are made and changed."""

from __future__ import annotations

from console.conftest import Console, words

from apps.assistants.models import Assistant
from apps.prompts.models import Prompt
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person


def given(console: Console, **changes: object) -> dict[str, object]:
    return {
        "name": "Help desk",
        "slug": "help",
        "description": "",
        "prompt": str(console.prompt.id),
        "variables": '{"product": "Menhir"}',
        "route_name": "small",
        "collections": [str(console.collection.id)],
        "passages_limit": "4",
        **changes,
    }


def test_an_assistant_is_made_and_changed(console: Console) -> None:
    browser = console.owner.browser()
    made = browser.post(console.at("assistants/new"), given(console))
    assert made["location"] == console.at("assistants/help/")
    assert "assistant:help" in words(browser.get(made["location"]))
    browser.post(made["location"], given(console, name="Desk", collections=[], passages_limit="9"))
    with tenant_transaction(console.owner.tenant):
        desk = Assistant.objects.within(console.owner.tenant).get(slug="help")
        assert (desk.name, desk.passages_limit, desk.variables, list(desk.collections)) == ("Desk", 9, {"product": "Menhir"}, [])


def test_what_cannot_be_is_said_at_its_field(console: Console, mallory: Person) -> None:
    with tenant_transaction(mallory.tenant):
        foreign = Prompt.create(mallory.tenant, slug="theirs", by=mallory.principal)
    browser = console.owner.browser()
    assert "already" in words(browser.post(console.at("assistants/new"), given(console, slug="docs")))
    assert "must be an object" in words(browser.post(console.at("assistants/new"), given(console, variables="[1]")))
    assert "Select a valid choice" in words(browser.post(console.at("assistants/new"), given(console, prompt=str(foreign.id))))
    assert "Select a valid choice" in words(browser.post(console.at("assistants/new"), given(console, route_name="nowhere")))
    assert "theirs" not in words(browser.get(console.at("assistants/new")))
