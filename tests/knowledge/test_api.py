from __future__ import annotations

import json

import httpx2
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from knowledge.conftest import run, work

from apps.knowledge.models import Document
from menhir.tenancy.transaction import tenant_transaction

API = "/api/v1"
TEXT = "To create an API key, open the console, choose Keys and press New key."


def put(client, path, body, **headers):
    return client.put(f"{API}{path}", json.dumps(body), content_type="application/json", headers=headers)


def post(client, path, body):
    return client.post(f"{API}{path}", json.dumps(body), content_type="application/json")


def call(key, method, path, body=None):
    """As a client over ASGI, in a process that holds what web holds: search is asynchronous."""

    async def called():
        from menhir.wiring.asgi import application

        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=application), base_url="http://localhost", headers=headers
        ) as client:
            return await client.request(method, f"{API}{path}", json=body)

    return run(called)


def ask(person, path, body, *scopes):
    return call(person.key(*scopes), "POST", path, body)


@pytest.fixture
def docs(acmes):
    """Acme's collection, with one document that answers."""
    acmes.learn(keys=TEXT)
    return acmes


def test_the_whole_way(acmes, alice):
    client = alice.api()
    made = post(client, "/collections", {"slug": "docs", "name": "Documentation"})
    assert made.status_code == 201
    assert made.json()["documents"] == {"queued": 0, "processing": 0, "ready": 0, "failed": 0}

    taken = put(client, "/collections/docs/documents/guides/keys.md", {"title": "Keys", "text": TEXT, "metadata": {"part": 1}})
    assert taken.status_code == 202
    assert (taken.json()["status"], taken.json()["answering"]) == ("queued", False)
    assert client.get(f"{API}/collections/docs").json()["documents"]["queued"] == 1
    work()

    shown = client.get(f"{API}/collections/docs/documents/guides/keys.md").json()
    assert (shown["status"], shown["failure"], shown["text"], shown["metadata"]) == ("ready", None, TEXT, {"part": 1})
    assert shown["progress"] == {"done": 1, "total": 1}
    assert put(client, "/collections/docs/documents/guides/keys.md", {"title": "Keys", "text": TEXT}).status_code == 200

    found = ask(alice, "/collections/docs/search", {"query": "How do I create an API key?", "limit": 5})
    assert found.status_code == 200
    (hit,) = found.json()["hits"]
    assert (hit["external_id"], hit["document"], hit["title"]) == ("guides/keys.md", shown["id"], "Keys")
    assert hit["text"] == TEXT[hit["start"] : hit["end"]]
    assert 0 < hit["score"] <= 1

    assert client.delete(f"{API}/collections/docs/documents/guides/keys.md").status_code == 204
    assert client.get(f"{API}/collections/docs/documents/guides/keys.md").status_code == 404
    assert ask(alice, "/collections/docs/search", {"query": "API key"}).json() == {"hits": []}
    assert client.delete(f"{API}/collections/docs").status_code == 204
    assert client.get(f"{API}/collections").json() == {"collections": []}


def test_a_file_as_it_is(acmes, alice):
    acmes.collection()
    path = f"{API}/collections/docs/documents/notes/plan.md"
    answer = alice.api().put(path, b"# The plan\n\nRaise a stone.", content_type="text/markdown")
    assert answer.status_code == 202, answer.json()
    assert (answer.json()["filename"], answer.json()["media_type"]) == ("plan.md", "text/markdown")
    work()
    assert alice.api().get(path).json()["title"] == "The plan"


def test_a_file_in_a_form(acmes, alice):
    acmes.collection()
    file = SimpleUploadedFile("plan.txt", b"Raise a stone.", content_type="text/plain")
    body = encode_multipart(BOUNDARY, {"file": file, "title": "Our plan", "metadata": '{"year": 2026}'})
    answer = alice.api().put(f"{API}/collections/docs/documents/plan", body, content_type=MULTIPART_CONTENT)
    assert answer.status_code == 202, answer.json()
    told = answer.json()
    assert (told["title"], told["filename"], told["metadata"], told["size"]) == ("Our plan", "plan.txt", {"year": 2026}, 14)


@pytest.mark.parametrize(
    ("body", "content_type", "param"),
    [
        (b"{", "application/json", None),
        (b"[]", "application/json", None),
        (b"{}", "application/json", "text"),
        (b'{"text": 1}', "application/json", "text"),
        (b'{"text": "x", "metadata": []}', "application/json", "metadata"),
        (b'{"text": "x", "colour": "red"}', "application/json", "colour"),
        (b'{"text": "x", "metadata": {"a": "\\u0000"}}', "application/json", "metadata"),
        (b"no form", "multipart/form-data; boundary=x", "file"),
        (b"no form", "multipart/form-data", None),
    ],
)
def test_what_cannot_be_taken_in(acmes, alice, body, content_type, param):
    acmes.collection()
    answer = alice.api().put(f"{API}/collections/docs/documents/a", body, content_type=content_type)
    assert answer.status_code == 400, answer.content
    assert answer["content-type"] == "application/problem+json"
    assert answer.json()["param"] == param
    with tenant_transaction(alice.tenant):
        assert not Document.objects.within(alice.tenant).exists()


def test_text_of_characters_that_are_none(acmes, alice):
    acmes.collection()
    path, kind = f"{API}/collections/docs/documents/a", "application/json"
    assert alice.api().put(path, b'{"text": "a \\ud800 stone"}', content_type=kind).status_code == 400
    assert alice.api().put(path, b'{"text": "a stone\\u0000", "title": "t\\u0000"}', content_type=kind).status_code == 202
    work()
    shown = alice.api().get(path).json()
    assert (shown["status"], shown["title"], shown["text"]) == ("ready", "t", "a stone")


def test_over_the_limit_is_413(acmes, alice):
    acmes.collection()
    client = alice.api()
    with override_settings(MENHIR_UPLOAD_LIMIT_BYTES=2000, DATA_UPLOAD_MAX_MEMORY_SIZE=2000 + 1024 * 1024):
        form = encode_multipart(BOUNDARY, {"file": SimpleUploadedFile("a.txt", b"x" * 2001)})
        for body, content_type in (
            (b"x" * 2001, "text/plain"),
            (b"x" * 2_000_000, "text/plain"),
            (json.dumps({"text": "x" * 2001}).encode(), "application/json"),
            (form, MULTIPART_CONTENT),
        ):
            answer = client.put(f"{API}/collections/docs/documents/a", body, content_type=content_type)
            assert answer.status_code == 413, (content_type, answer.content)
            assert answer.json()["code"] == "upload_too_large"


def test_a_batch(acmes, alice):
    acmes.collection()
    client = alice.api()
    many = [{"external_id": f"d{number:03}", "text": f"Document number {number}.", "title": f"Number {number}"} for number in range(120)]
    answer = post(client, "/collections/docs/documents:batch", {"documents": many})
    assert answer.status_code == 202, answer.content
    assert [item["external_id"] for item in answer.json()["documents"]] == [item["external_id"] for item in many]
    assert client.get(f"{API}/collections/docs").json()["documents"]["queued"] == 120

    page = client.get(f"{API}/collections/docs/documents?limit=100").json()
    assert (len(page["documents"]), page["next"]) == (100, "d099")
    rest = client.get(f"{API}/collections/docs/documents?limit=100&after=d099").json()
    assert (rest["documents"][0]["external_id"], len(rest["documents"]), rest["next"]) == ("d100", 20, None)
    assert client.get(f"{API}/collections/docs/documents?status=failed").json()["documents"] == []


def test_a_batch_that_is_too_long_or_holds_one_bad_item_is_refused_whole(acmes, alice):
    acmes.collection()
    client = alice.api()
    many = [{"external_id": str(number), "text": "x"} for number in range(1001)]
    assert post(client, "/collections/docs/documents:batch", {"documents": many}).status_code == 422
    assert (
        post(client, "/collections/docs/documents:batch", {"documents": [*many[:3], {"external_id": " ", "text": "x"}]}).status_code == 400
    )
    assert post(client, "/collections/docs/documents:batch", {"documents": [*many[:3], {"external_id": "x"}]}).status_code == 422
    with tenant_transaction(alice.tenant):
        assert not Document.objects.within(alice.tenant).exists()


def test_collections_that_cannot_be(alice):
    client = alice.api()
    assert post(client, "/collections", {"slug": "Docs!", "name": "x"}).status_code == 400
    assert post(client, "/collections", {"slug": "docs", "name": "x", "language": "klingon"}).json()["param"] == "language"
    assert post(client, "/collections", {"slug": "docs", "name": "x"}).status_code == 201
    assert post(client, "/collections", {"slug": "docs", "name": "x"}).status_code == 409
    assert post(client, "/collections", {"name": "x"}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [{}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 201}, {"query": "x", "limit": "5"}, {"query": "x", "k": 1}],
)
def test_questions_that_cannot_be(docs, alice, body):
    assert ask(alice, "/collections/docs/search", body).status_code == 422


EVERY = [
    ("GET", "/collections", None, "read"),
    ("POST", "/collections", {"slug": "new", "name": "New"}, "write"),
    ("GET", "/collections/docs", None, "read"),
    ("GET", "/collections/docs/documents", None, "read"),
    ("GET", "/collections/docs/documents/keys", None, "read"),
    ("PUT", "/collections/docs/documents/keys", {"text": "Changed."}, "write"),
    ("POST", "/collections/docs/documents:batch", {"documents": [{"external_id": "b", "text": "B."}]}, "write"),
    ("POST", "/collections/docs/search", {"query": "create an API key"}, "read"),
    ("DELETE", "/collections/docs/documents/keys", None, "write"),
    ("DELETE", "/collections/docs", None, "write"),
]


@pytest.mark.parametrize(("method", "path", "body", "verb"), EVERY)
def test_every_endpoint_asked_by_everyone(docs, alice, bob, mallory, method, path, body, verb):
    other = "write" if verb == "read" else "read"
    assert call("", method, path, body).status_code == 401
    assert call("mh_live_nonsense", method, path, body).status_code == 401
    assert call(alice.key(f"knowledge:{other}", "inference"), method, path, body).status_code == 403
    if "docs" in path:
        # Mallory's own key opens her own tenant, where there is no such collection.
        refused = call(mallory.key(), method, path, body)
        assert refused.status_code == 404
        assert TEXT not in refused.text
        assert str(docs.document("keys").id) not in refused.text
    elif method == "GET":
        assert call(mallory.key(), method, path, body).json() == {"collections": []}
    assert docs.document("keys").text == TEXT  # nobody of those changed anything
    assert call(bob.key(f"knowledge:{verb}"), method, path, body).status_code in {200, 201, 202, 204}
