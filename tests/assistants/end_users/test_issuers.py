"""Issuers over the API: who may manage them, and what is refused."""

from __future__ import annotations

import json

import jwt
import pytest
from assistants.end_users.conftest import audience, shape

from menhir.audit.models import Entry
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from peers.issuer import SigningKey
from stage.cast import Person


def test_issuers_are_managed_by_whoever_manages_keys(alice: Person, bob: Person, mallory: Person, signer: SigningKey):
    api = alice.api("keys:write")
    made = api.post("/api/v1/token-issuers", shape(signer), content_type="application/json")
    assert made.status_code == 201, made.content
    assert made.json()["audience"] == audience(alice)
    place = f"/api/v1/token-issuers/{made.json()['id']}"
    twice = api.post("/api/v1/token-issuers", shape(signer), content_type="application/json")
    assert (twice.status_code, twice.json()["param"]) == (409, "issuer")
    hidden = api.put(place, shape(signer, keys="", algorithms=["HS256"], secret="q" * 40), content_type="application/json")
    assert hidden.status_code == 200, hidden.content
    assert hidden.json()["has_secret"]
    assert "q" * 40 not in hidden.content.decode()
    kept = api.put(place, shape(signer, keys="", algorithms=["HS256"], name="Renamed"), content_type="application/json")
    assert (kept.status_code, kept.json()["has_secret"], kept.json()["name"]) == (200, True, "Renamed")
    assert api.put(place, shape(signer), content_type="application/json").json()["has_secret"] is False
    with tenant_transaction(alice.tenant):
        verbs = [entry.verb for entry in Entry.objects.within(alice.tenant).filter(noun="tokenissuer").order_by("at")]
        assert all("q" * 40 not in json.dumps(entry.detail) for entry in Entry.objects.within(alice.tenant))
    assert verbs == ["tokenissuer.created", *["tokenissuer.changed"] * 3]
    others = [bob.api("inference", "knowledge:read"), mallory.api()]
    for client, status in zip(others, (403, 404), strict=True):
        assert client.get(place).status_code == status
        assert client.delete(place).status_code == status
        assert client.put(place, shape(signer), content_type="application/json").status_code == status
    assert others[1].get("/api/v1/token-issuers").json() == {"token_issuers": []}
    assert api.get("/api/v1/token-issuers").json()["token_issuers"][0]["name"] == "Login"
    assert api.delete(place).status_code == 204
    assert api.get(place).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"name": " "}, "name"),
        ({"issuer": ""}, "issuer"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["RS256", "HS256"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["ES256"]}, "keys"),
        ({"keys": ""}, "keys"),
        ({"keys": "nonsense"}, "keys"),
        ({"keys": "{"}, "keys"),
        ({"keys": "-----BEGIN PRIVATE KEY-----"}, "keys"),
        ({"keys_url": "https://example.com/keys"}, "keys"),
        ({"keys": "", "keys_url": "http://example.com/keys"}, "keys_url"),
        ({"keys": "", "keys_url": "file:///etc/passwd"}, "keys_url"),
        ({"keys": "", "keys_url": "https://user:word@example.com/"}, "keys_url"),
        ({"keys": "", "algorithms": ["HS256"], "secret": "short"}, "secret"),
        ({"audience": "menhir:somebody-else"}, "audience"),
        ({"scope_claim": "scope", "scope_value": ""}, "scope_value"),
    ],
)
def test_an_issuer_that_makes_no_sense_is_refused_by_its_field(alice: Person, signer: SigningKey, wrong: dict, param: str):
    answer = alice.api().post("/api/v1/token-issuers", shape(signer, **wrong), content_type="application/json")
    assert (answer.status_code, answer.json()["param"]) == (400, param), answer.content
    with tenant_transaction(alice.tenant):
        assert not TokenIssuer.objects.within(alice.tenant).exists()


def test_a_private_key_in_a_document_is_refused(alice: Person, signer: SigningKey):
    private = jwt.get_algorithm_by_name("RS256").to_jwk(signer.private, as_dict=True)
    answer = alice.api().post("/api/v1/token-issuers", shape(signer, keys=json.dumps({"keys": [private]})), content_type="application/json")
    assert answer.status_code == 400
    assert "private key" in answer.json()["detail"]
