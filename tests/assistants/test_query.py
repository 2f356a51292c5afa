"""`POST /api/v1/query` over a real socket: the answer, its sources, and every way to be refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from assistants.conftest import Company

from apps.assistants.provisioning import provision_docs_assistant

from stage.cast import Person

KEYS = "An API key is created in the console under Keys. It is shown once. A key that is revoked is refused within a second."
STONES = "A menhir is a standing stone. The tallest one that was ever raised stood at Locmariaquer in Brittany."
QUESTION = "Where is an API key created?"


def query(company: Company, body: object, *, key: str | None = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key or company.person.key('inference', 'knowledge:read')}"}
    return httpx2.post(f"{company.server.base_url}/api/v1/query", json=body, headers=headers, timeout=30)


@pytest.fixture
def provisioned(acmes: Company) -> Company:
    """Acme as a new tenant has it: `docs` answers from the collection `docs`, by quoting."""
    provision_docs_assistant(acmes.tenant, acmes.person.principal, route_name=acmes.extract())
    acmes.learn("docs", keys=KEYS, stones=STONES)
    return acmes


def test_an_answer_has_its_sources(provisioned: Company):
    answer = query(provisioned, {"question": QUESTION})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said) == {"answer", "sources", "confidence", "latency_ms"}
    assert "An API key is created in the console under Keys. [1]" in said["answer"]
    first = said["sources"][0]
    assert {"document", "chunk", "text", "score", "start", "end"} <= set(first)
    assert first["external_id"] == "keys"
    assert KEYS[first["start"] : first["end"]] == first["text"]
    assert said["confidence"] > 0.5
    assert isinstance(said["latency_ms"], int)


def test_as_many_sources_as_were_asked_for(provisioned: Company):
    assert len(query(provisioned, {"question": "key stone", "max_results": 1}).json()["sources"]) == 1
    assert len(query(provisioned, {"question": "key stone", "max_results": 50}).json()["sources"]) == 2


def test_a_question_nobody_can_answer_has_no_confidence(provisioned: Company):
    said = query(provisioned, {"question": "Who won the football match yesterday?"}).json()
    assert said["confidence"] == 0
    assert said["answer"]


def test_another_collection(provisioned: Company):
    provisioned.learn("birds", wren="The wren is a small bird that sings loudly.")
    said = query(provisioned, {"question": "How loudly does the wren sing?", "collection": "birds"}).json()
    assert [source["external_id"] for source in said["sources"]] == ["wren"]
    assert "[1]" in said["answer"]


def test_texts_that_come_along(provisioned: Company):
    texts = ["Cats purr when they are content.", "The wren is a small bird that sings loudly."]
    said = query(provisioned, {"question": "Which bird sings loudly?", "documents": texts}).json()
    first = said["sources"][0]
    assert (first["external_id"], texts[1][first["start"] : first["end"]]) == ("2", texts[1])
    assert "sings loudly" in said["answer"]
    assert "API key" not in said["answer"]


def test_a_tenant_without_assistants_answers_by_quoting(acmes: Company):
    nobody = query(acmes, {"question": QUESTION})
    assert (nobody.status_code, nobody.json()["code"]) == (409, "no_assistant")
    acmes.extract()
    assert "[1]" in query(acmes, {"question": QUESTION, "documents": [KEYS]}).json()["answer"]


def test_the_call_is_in_the_ledger_with_the_callers_key(provisioned: Company, superuser: str):
    query(provisioned, {"question": QUESTION, "session_id": str(uuid4())})
    with psycopg.connect(superuser) as connection:
        calls = connection.execute(
            "SELECT assistant_id IS NOT NULL, prompt_version_id IS NOT NULL, api_key_id IS NOT NULL FROM metering_call"
            " WHERE tenant_id = %s AND model = 'assistant:docs'",
            [provisioned.tenant.id],
        ).fetchall()
    assert calls == [(True, True, True)]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 422, "question"),
        ({"question": "ab"}, 422, "question"),
        ({"question": "   a   "}, 422, "question"),
        ({"question": 3}, 422, "question"),
        ({"question": "a\x00bc"}, 422, "question"),
        ({"question": "x" * 8001}, 422, "question"),
        ({"question": QUESTION, "session_id": "not-a-uuid"}, 422, "session_id"),
        ({"question": QUESTION, "max_results": 0}, 422, "max_results"),
        ({"question": QUESTION, "max_results": 51}, 422, "max_results"),
        ({"question": QUESTION, "max_results": "5"}, 422, "max_results"),
        ({"question": QUESTION, "documents": ["x"] * 101}, 422, "documents"),
        ({"question": QUESTION, "documents": "x"}, 422, "documents"),
        ({"question": QUESTION, "documents": [3]}, 422, "documents.0"),
        ({"question": QUESTION, "collection": 3}, 422, "collection"),
        ({"question": QUESTION, "collection": "absent"}, 404, "collection"),
        ({"question": QUESTION, "colection": "docs"}, 422, "colection"),
    ],
)
def test_what_is_no_question_is_a_problem_that_names_the_field(acmes: Company, body: dict[str, Any], status: int, param: str):
    answer = query(acmes, body)
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (answer.status_code, problem["status"], problem["param"]) == (status, status, param)
    assert {"type", "title", "detail"} <= set(problem)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_json_is_a_problem(acmes: Company, content: bytes):
    headers = {"authorization": f"Bearer {acmes.person.key('inference')}", "content-type": "application/json"}
    answer = httpx2.post(f"{acmes.server.base_url}/api/v1/query", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_who_may_ask(provisioned: Company, bob: Person, mallory: Person):
    assert query(provisioned, {"question": QUESTION}, key=bob.key("inference")).status_code == 200
    assert query(provisioned, {"question": QUESTION}, key=bob.key("knowledge:read")).status_code == 403
    assert query(provisioned, {"question": QUESTION}, key="mh_live_wrong").status_code == 401
    hers = query(provisioned, {"question": QUESTION, "collection": "docs"}, key=mallory.key())
    assert hers.status_code == 404
    assert "console" not in hers.text


def test_an_upstream_that_is_away_is_503(acmes: Company):
    route = acmes.model("away", base_url="http://127.0.0.1:9/v1")
    acmes.assistant("docs", acmes.prompt("docs", "Guide."), route)
    answer = query(acmes, {"question": QUESTION})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
