"""Who is let in with what: every refusal in OpenAI's shape, with a request id."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from assistants.conftest import Company

from apps.gateway.models import Provider
from menhir.tenancy.models import ApiKey
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

CHAT, EMBEDDINGS, MODELS = "/v1/chat/completions", "/v1/embeddings", "/v1/models"
QUESTION = [{"role": "user", "content": "What is a menhir?"}]
ENDPOINTS = [
    ("POST", CHAT, {"model": "plain", "messages": QUESTION}),
    ("POST", CHAT, {"model": "plain", "messages": QUESTION, "stream": True}),
    ("POST", EMBEDDINGS, {"model": "plain", "input": "a"}),
    ("GET", MODELS, None),
    ("GET", f"{MODELS}/plain", None),
]


def ask(company: Company, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str) -> tuple[int, Any, Any]:
    """One request as plain as it gets; gives status, parsed body and headers."""
    connection = http.client.HTTPConnection(company.server.base_url.removeprefix("http://"), timeout=20)
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, json.loads(said) if said else None, answer.headers


def error(answer: tuple[int, Any, Any], status: int) -> dict[str, Any]:
    """The error of an answer that has to have OpenAI's shape."""
    got, body, headers = answer
    assert got == status, body
    assert headers["x-request-id"]
    assert headers["content-type"] == "application/json"
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert isinstance(body["error"]["code"], str)
    assert "Traceback" not in json.dumps(body)
    return body["error"]


def refusal(client: openai.OpenAI, *, within: timedelta) -> openai.AuthenticationError:
    """The refusal that a key that was good meets in time."""
    until = datetime.now(UTC) + within
    while datetime.now(UTC) < until:
        try:
            client.models.list()
        except openai.AuthenticationError as refused:
            return refused
    pytest.fail("the key still works")


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
def test_without_a_key_nobody_is_let_in(acmes: Company, method: str, path: str, body: object):
    assert error(ask(acmes, method, path, body), 401)["type"] == "authentication_error"
    for wrong in ("sk-wrong", "mh_live_" + "a" * 36, "", "ä", "a b"):
        assert error(ask(acmes, method, path, body, key=wrong.encode().decode("latin-1")), 401)["code"] == "invalid_api_key"
    assert error(ask(acmes, method, path, body, authorization="Basic YTpi"), 401)
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
def test_a_key_without_the_scope_is_refused(acmes: Company, method: str, path: str, body: object):
    refused = error(ask(acmes, method, path, body, key=acmes.person.key("prompts:read", "prompts:write")), 403)
    assert "inference" in refused["message"]
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
def test_members_are_let_in_and_another_tenant_finds_nothing(
    acmes: Company, bob: Person, mallory: Person, method: str, path: str, body: object
):
    connection = ask(acmes, "GET", MODELS, key=bob.key("inference"))
    assert [model["id"] for model in connection[1]["data"]] == ["local/all-MiniLM-L6-v2", "plain"]
    if path == MODELS:
        assert ask(acmes, method, path, key=mallory.key())[1] == {"object": "list", "data": []}
        return
    assert error(ask(acmes, method, path, body, key=mallory.key()), 404)["code"] == "model_not_found"
    assert acmes.upstream.stats.requests == 0


def test_an_expired_key_says_so(acmes: Company):
    key = acmes.person.key("inference", expires_at=datetime.now(UTC) + timedelta(milliseconds=300))
    client = acmes.client(key=key)
    client.models.list()
    assert refusal(client, within=timedelta(seconds=2)).code == "expired_api_key"


def test_a_revoked_key_is_refused(acmes: Company):
    key = acmes.person.key("inference")
    client = acmes.client(key=key)
    client.models.list()
    with tenant_transaction(acmes.tenant):
        ApiKey.objects.within(acmes.tenant).get(last_four=key[-4:]).revoke()
    assert refusal(client, within=timedelta(seconds=1)).code == "invalid_api_key"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, b"", None),
        (CHAT, b"{", None),
        (CHAT, b'{"model": "plain", "messages": "\xff"}', None),
        (CHAT, b"[]", None),
        (CHAT, b'"plain"', None),
        (CHAT, {}, "model"),
        (CHAT, {"model": 3, "messages": QUESTION}, "model"),
        (CHAT, {"model": "", "messages": QUESTION}, "model"),
        (CHAT, {"model": "x" * 300, "messages": QUESTION}, "model"),
        (CHAT, {"model": "plain"}, "messages"),
        (CHAT, {"model": "plain", "messages": []}, "messages"),
        (CHAT, {"model": "plain", "messages": "hi"}, "messages"),
        (CHAT, {"model": "plain", "messages": ["hi"]}, "messages[0]"),
        (CHAT, {"model": "plain", "messages": [*QUESTION, {"content": "x"}]}, "messages[1].role"),
        (CHAT, {"model": "plain", "messages": [{"role": "user"}]}, "messages[0].content"),
        (CHAT, {"model": "plain", "messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        (CHAT, {"model": "plain", "messages": QUESTION, "stream": "yes"}, "stream"),
        (CHAT, {"model": "plain", "messages": QUESTION, "stream_options": True}, "stream_options"),
        (CHAT, {"model": "plain", "messages": QUESTION, "prompt": "support"}, "prompt"),
        (CHAT, {"model": "plain", "messages": QUESTION, "prompt": {}}, "prompt.id"),
        (CHAT, {"model": "plain", "messages": QUESTION, "prompt": {"id": 3}}, "prompt.id"),
        (CHAT, {"model": "plain", "messages": QUESTION, "prompt": {"id": "x", "version": 1.5}}, "prompt.version"),
        (CHAT, {"model": "plain", "messages": QUESTION, "prompt": {"id": "x", "variables": []}}, "prompt.variables"),
        (CHAT, {"model": "plain", "messages": QUESTION, "menhir": []}, "menhir"),
        (CHAT, {"model": "plain", "messages": QUESTION, "menhir": {"passages": 51}}, "menhir.passages"),
        (CHAT, {"model": "plain", "messages": QUESTION, "menhir": {"documents": ["x"] * 101}}, "menhir.documents"),
        (CHAT, {"model": "plain", "messages": QUESTION, "menhir": {"collections": "docs"}}, "menhir.collections"),
        (EMBEDDINGS, {"model": "plain"}, "input"),
        (EMBEDDINGS, {"model": "plain", "input": ""}, "input"),
        (EMBEDDINGS, {"model": "plain", "input": []}, "input"),
        (EMBEDDINGS, {"model": "plain", "input": ["a", 1]}, "input"),
        (EMBEDDINGS, {"input": "a"}, "model"),
        (EMBEDDINGS, {"model": "assistant:guide", "input": "a"}, "model"),
    ],
)
def test_what_is_no_request_names_the_field(acmes: Company, path: str, body: object, param: str | None):
    refused = error(ask(acmes, "POST", path, body, key=acmes.person.key("inference")), 400)
    assert (refused["type"], refused["param"]) == ("invalid_request_error", param)
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize("model", ["absent", "assistant:absent", "assistant:", "assistant:A\x00", "plain\x00", "pläin", "../plain"])
def test_an_unknown_model_is_not_found(acmes: Company, model: str):
    refused = error(ask(acmes, "POST", CHAT, {"model": model, "messages": QUESTION}, key=acmes.person.key("inference")), 404)
    assert (refused["code"], refused["param"]) == ("model_not_found", "model")


def test_a_body_over_the_limit_is_refused(acmes: Company):
    body = {"model": "plain", "messages": [{"role": "user", "content": "x" * (11 * 1024 * 1024)}]}
    client = acmes.client("inference")
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**body)
    assert refused.value.status_code == 413
    assert refused.value.type == "invalid_request_error"
    assert acmes.upstream.stats.requests == 0


def test_a_body_over_the_limit_without_a_length_is_refused(acmes: Company):
    connection = http.client.HTTPConnection(acmes.server.base_url.removeprefix("http://"), timeout=20)
    parts = (b" " * 65536 for _ in range(200))
    headers = {"authorization": f"Bearer {acmes.person.key('inference')}"}
    connection.request("POST", CHAT, parts, headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "too_large"


def test_what_nobody_expected_is_a_plain_500(acmes: Company, caplog: pytest.LogCaptureFixture):
    with tenant_transaction(acmes.tenant):
        Provider.objects.within(acmes.tenant).filter(slug="fake-plain").update(kind="unheard-of")
    answer = ask(acmes, "POST", CHAT, {"model": "plain", "messages": QUESTION}, key=acmes.person.key("inference"))
    assert error(answer, 500)["code"] == "internal_error"
    assert "unheard-of" not in json.dumps(answer[1])
    assert answer[2]["x-request-id"] in caplog.text


@pytest.mark.parametrize("path", ["/v1/", "/v1/absent", "/v1/chat", "/v1/complete", "/v1/completions/x"])
def test_an_unknown_path_is_not_found(acmes: Company, path: str):
    for method in ("GET", "POST", "DELETE"):
        assert error(ask(acmes, method, path, key=acmes.person.key("inference")), 404)["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("PUT", EMBEDDINGS, "POST"), ("POST", MODELS, "GET"), ("DELETE", f"{MODELS}/plain", "GET")],
)
def test_a_wrong_method_is_told_the_right_one(acmes: Company, method: str, path: str, allowed: str):
    answer = ask(acmes, method, path, key=acmes.person.key("inference"))
    assert error(answer, 405)["code"] == "method_not_allowed"
    assert answer[2]["allow"] == allowed


def test_models_are_listed_with_assistants_and_shown_alone(acmes: Company):
    acmes.assistant("guide", acmes.prompt("guide", "Guide people."), "plain")
    client = acmes.client("inference")
    assert [model.id for model in client.models.list()] == ["assistant:guide", "local/all-MiniLM-L6-v2", "plain"]
    assert client.models.retrieve("assistant:guide").owned_by == acmes.tenant.slug
    assert client.models.retrieve("local/all-MiniLM-L6-v2").id == "local/all-MiniLM-L6-v2"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("assistant:absent")
    assert refused.value.code == "model_not_found"
