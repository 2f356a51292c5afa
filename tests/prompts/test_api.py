"""`/api/v1/prompts`, asked by alice, by bob's weaker key, and by mallory."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from stage.cast import Person

PROMPTS = "/api/v1/prompts"


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def put(client: Client, path: str, **body: Any) -> Any:
    return client.put(path, body, content_type="application/json")


@pytest.fixture
def client(alice: Person) -> Client:
    return alice.api()


@pytest.fixture
def support(client: Client) -> Client:
    """Alice's client, once the prompt `support` has two versions, the first released."""
    assert post(client, PROMPTS, slug="support", name="Support", text="Hi {{ name }}").status_code == 201
    assert post(client, f"{PROMPTS}/support/versions", text="Hello {{ name }}", note="warmer").status_code == 201
    assert put(client, f"{PROMPTS}/support/releases/production", version=1).status_code == 200
    return client


def test_a_prompt_shows_its_versions_and_releases(support: Client):
    shown = support.get(f"{PROMPTS}/support").json()
    assert (shown["slug"], shown["name"], shown["latest_version"], shown["archived_at"]) == ("support", "Support", 2, None)
    assert [(r["label"], r["version"]) for r in shown["releases"]] == [("production", 1)]
    versions = support.get(f"{PROMPTS}/support/versions").json()["versions"]
    assert [(v["number"], v["text"], v["variables"], v["note"]) for v in versions] == [
        (2, "Hello {{ name }}", ["name"], "warmer"),
        (1, "Hi {{ name }}", ["name"], ""),
    ]
    assert support.get(f"{PROMPTS}/support/versions/2").json()["text"] == "Hello {{ name }}"


def test_prompts_are_listed_by_slug_in_pages(client: Client):
    for slug in ("c", "a", "b"):
        post(client, PROMPTS, slug=slug)
    page = client.get(PROMPTS, {"limit": 2}).json()
    assert ([p["slug"] for p in page["prompts"]], page["next"]) == (["a", "b"], "b")
    page = client.get(PROMPTS, {"limit": 2, "after": page["next"]}).json()
    assert ([p["slug"] for p in page["prompts"]], page["next"]) == (["c"], None)
    assert [p["slug"] for p in client.get(PROMPTS, {"q": "B"}).json()["prompts"]] == ["b"]


def test_releases_move_and_are_taken_back(support: Client):
    assert put(support, f"{PROMPTS}/support/releases/production", version=2).json()["version"] == 2
    assert support.delete(f"{PROMPTS}/support/releases/production").status_code == 204
    page = support.get(f"{PROMPTS}/support/releases").json()
    assert page["releases"] == []
    assert [(e["label"], e["version"]) for e in page["history"]] == [("production", None), ("production", 2), ("production", 1)]
    gone = support.delete(f"{PROMPTS}/support/releases/production")
    assert (gone.status_code, gone.json()["code"]) == (404, "prompt_not_released")


def test_archiving_hides_and_restoring_shows(support: Client):
    assert support.put(f"{PROMPTS}/support/archive").status_code == 204
    assert support.get(PROMPTS).json()["prompts"] == []
    assert [p["slug"] for p in support.get(PROMPTS, {"archived": True}).json()["prompts"]] == ["support"]
    refused = post(support, f"{PROMPTS}/support/versions", text="x")
    assert (refused.status_code, refused.json()["code"]) == (409, "prompt_archived")
    assert support.delete(f"{PROMPTS}/support/archive").status_code == 204
    assert [p["slug"] for p in support.get(PROMPTS).json()["prompts"]] == ["support"]


@pytest.mark.parametrize(
    ("body", "rendered"),
    [
        ({"variables": {"name": "Ada"}}, {"text": "Hi Ada", "version": 1}),
        ({"variables": {"name": "Ada"}, "version": 2}, {"text": "Hello Ada", "version": 2}),
        ({"variables": {"x": 1}, "text": "{{ x }}!"}, {"text": "1!", "version": None}),
    ],
)
def test_a_preview_renders(support: Client, body: dict[str, Any], rendered: dict[str, Any]):
    assert post(support, f"{PROMPTS}/support/render", **body).json() == rendered


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("", {"slug": "support"}, 409, "prompt_exists", "slug"),
        ("", {"slug": "No"}, 400, "invalid_request", "slug"),
        ("", {"slug": "x\x00"}, 422, "invalid_request", "slug"),
        ("", {}, 422, "invalid_request", "slug"),
        ("", {"slug": "new", "text": "a\n{{ x"}, 400, "prompt_syntax_error", "text"),
        ("/support/versions", {}, 422, "invalid_request", "text"),
        ("/support/versions", {"text": "{% for x in y %}{% endfor %}"}, 400, "unsupported_prompt_syntax", "text"),
        ("/support/render", {}, 400, "missing_variable", "variables.name"),
        ("/support/render", {"variables": {"name": "a", "b": 1}}, 400, "unknown_variable", "variables.b"),
        ("/support/render", {"version": 9}, 404, "prompt_version_not_found", "version"),
        ("/support/render", {"label": "beta"}, 404, "prompt_not_released", "label"),
        ("/absent/render", {}, 404, "prompt_not_found", "slug"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field(support: Client, path: str, body: dict[str, Any], status: int, code: str, param: str):
    answer = post(support, PROMPTS + path, **body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["param"]) == (status, code, param)
    assert answer["content-type"].startswith("application/problem+json")


def test_a_prompt_whose_text_is_refused_does_not_come_to_be(client: Client):
    assert post(client, PROMPTS, slug="half", text="{{ x").status_code == 400
    assert client.get(f"{PROMPTS}/half").status_code == 404


@pytest.mark.parametrize("version", [0, -1, 9, 2**40, "x", None])
def test_releasing_no_version_of_it_is_refused(support: Client, version: object):
    assert put(support, f"{PROMPTS}/support/releases/production", version=version).status_code in {404, 422}
    assert support.get(f"{PROMPTS}/support").json()["releases"][0]["version"] == 1


READS = ["", "/support", "/support/versions", "/support/versions/1", "/support/releases"]
WRITES = [
    ("post", "", {"slug": "mine"}),
    ("post", "/support/versions", {"text": "mine"}),
    ("put", "/support/releases/production", {"version": 2}),
    ("delete", "/support/releases/production", {}),
    ("put", "/support/archive", {}),
    ("delete", "/support/archive", {}),
]


@pytest.mark.parametrize("path", READS)
def test_reading_takes_its_scope(support: Client, bob: Person, path: str):
    assert bob.api("prompts:read").get(PROMPTS + path).status_code == 200
    assert bob.api("inference", "prompts:write").get(PROMPTS + path).status_code == 403
    assert Client(headers={"host": "localhost"}).get(PROMPTS + path).status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_writing_takes_its_scope(support: Client, bob: Person, method: str, path: str, body: dict[str, Any]):
    before = support.get(f"{PROMPTS}/support").json()
    weak = getattr(bob.api("prompts:read"), method)(PROMPTS + path, body, content_type="application/json")
    nobody = getattr(Client(headers={"host": "localhost"}), method)(PROMPTS + path, body, content_type="application/json")
    assert (weak.status_code, nobody.status_code) == (403, 401)
    assert support.get(f"{PROMPTS}/support").json() == before


@pytest.mark.parametrize("path", READS[1:])
def test_another_tenants_prompt_cannot_be_read(support: Client, mallory: Person, path: str):
    answer = mallory.api().get(PROMPTS + path)
    assert answer.status_code == 404
    assert "Hi" not in answer.content.decode()


@pytest.mark.parametrize(("method", "path", "body"), WRITES[1:])
def test_another_tenants_prompt_cannot_be_written(support: Client, mallory: Person, method: str, path: str, body: dict[str, Any]):
    before = support.get(f"{PROMPTS}/support").json()
    assert getattr(mallory.api(), method)(PROMPTS + path, body, content_type="application/json").status_code == 404
    assert support.get(f"{PROMPTS}/support").json() == before


def test_another_tenants_list_is_her_own(support: Client, mallory: Person):
    assert mallory.api().get(PROMPTS).json() == {"prompts": [], "next": None}
