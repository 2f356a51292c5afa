"""`/api/v1/assistants`, asked by alice, by bob's weaker key, and by mallory."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.assistants.models import Assistant
from apps.assistants.provisioning import provision_docs_assistant
from apps.knowledge.models import Collection
from apps.prompts.models import Prompt
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

ASSISTANTS = "/api/v1/assistants"
GUIDE = {"slug": "guide", "prompt": "guide", "route": "extract", "collections": ["docs"], "variables": {"who": "people"}}


def send(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return getattr(client, method)(path, body, content_type="application/json")


@pytest.fixture
def client(alice: Person) -> Client:
    with tenant_transaction(alice.tenant):
        for slug in ("guide", "other"):
            Prompt.create(alice.tenant, slug=slug, by=alice.principal)
        for slug in ("docs", "more"):
            Collection.create(alice.tenant, slug=slug, by=alice.principal)
    return alice.api()


@pytest.fixture
def guide(client: Client) -> Client:
    """Alice's client, once the assistant `guide` is there."""
    assert send(client, "post", ASSISTANTS, GUIDE).status_code == 201
    return client


def test_an_assistant_shows_what_it_is_made_of(guide: Client):
    shown = guide.get(f"{ASSISTANTS}/guide").json()
    assert (shown["model"], shown["prompt"], shown["label"], shown["route"]) == ("assistant:guide", "guide", "production", "extract")
    assert (shown["collections"], shown["variables"], shown["passages"]) == (["docs"], {"who": "people"}, 6)
    assert [assistant["slug"] for assistant in guide.get(ASSISTANTS).json()["assistants"]] == ["guide"]


def test_a_change_leaves_the_rest(guide: Client):
    changed = send(guide, "patch", f"{ASSISTANTS}/guide", {"prompt": "other", "collections": ["more", "docs"], "passages": 9}).json()
    assert (changed["prompt"], changed["collections"], changed["passages"]) == ("other", ["more", "docs"], 9)
    assert (changed["route"], changed["variables"]) == ("extract", {"who": "people"})
    assert send(guide, "patch", f"{ASSISTANTS}/guide", {"collections": []}).json()["collections"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("post", "", GUIDE, 409, "slug"),
        ("post", "", {**GUIDE, "slug": "A B"}, 400, "slug"),
        ("post", "", {**GUIDE, "slug": "new", "prompt": "absent"}, 400, "prompt"),
        ("post", "", {**GUIDE, "slug": "new", "collections": ["absent"]}, 404, "collections"),
        ("post", "", {**GUIDE, "slug": "new", "passages": 51}, 422, "passages"),
        ("post", "", {"slug": "new"}, 422, "prompt"),
        ("patch", "/guide", {"label": "No Label"}, 400, "label"),
        ("patch", "/guide", {"passages": 0}, 422, "passages"),
        ("patch", "/absent", {}, 404, "slug"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field(guide: Client, method: str, path: str, body: dict[str, Any], status: int, param: str):
    answer = send(guide, method, ASSISTANTS + path, body)
    assert (answer.status_code, answer.json()["param"]) == (status, param)
    assert [assistant["slug"] for assistant in guide.get(ASSISTANTS).json()["assistants"]] == ["guide"]


@pytest.mark.parametrize("path", ["", "/guide"])
def test_reading_takes_its_scope_and_its_tenant(guide: Client, bob: Person, mallory: Person, path: str):
    assert bob.api("prompts:read").get(ASSISTANTS + path).status_code == 200
    assert bob.api("inference").get(ASSISTANTS + path).status_code == 403
    assert Client(headers={"host": "localhost"}).get(ASSISTANTS + path).status_code == 401
    hers = mallory.api().get(ASSISTANTS + path)
    assert hers.status_code == (404 if path else 200)
    assert "people" not in hers.content.decode()


def test_writing_takes_its_scope_and_its_tenant(guide: Client, bob: Person, mallory: Person):
    before = guide.get(f"{ASSISTANTS}/guide").json()
    for client, status in ((bob.api("prompts:read"), 403), (Client(headers={"host": "localhost"}), 401), (mallory.api(), 404)):
        assert send(client, "patch", f"{ASSISTANTS}/guide", {"name": "Mine"}).status_code == status
    assert send(bob.api("prompts:read"), "post", ASSISTANTS, {**GUIDE, "slug": "new"}).status_code == 403
    assert send(mallory.api(), "post", ASSISTANTS, {**GUIDE, "slug": "new"}).json()["param"] == "prompt"
    assert guide.get(f"{ASSISTANTS}/guide").json() == before


def test_a_deleted_collection_leaves_its_assistants(alice: Person, guide: Client):
    with tenant_transaction(alice.tenant):
        Collection.objects.within(alice.tenant).named("docs").remove(by=alice.principal)
    assert guide.get(f"{ASSISTANTS}/guide").json()["collections"] == []


def test_provisioning_twice_changes_nothing(alice: Person):
    first = provision_docs_assistant(alice.tenant, alice.principal, route_name="extract")
    again = provision_docs_assistant(alice.tenant, alice.principal, route_name="another")
    assert (again.id, again.route_name) == (first.id, "extract")
    with tenant_transaction(alice.tenant):
        assert Assistant.objects.within(alice.tenant).count() == 1
        assert first.prompt.releases.get().version.variables == ("product",)
        assert [collection.slug for collection in first.collections] == ["docs"]
