"""End users with tokens of their tenant's identity provider: who is let in, as whom, into which tenant."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import tracemalloc
from datetime import timedelta
from decimal import Decimal
from typing import Any

import jwt
import pytest
from assistants.conftest import Company
from assistants.end_users.conftest import CHAT, ISS, QUESTION, accept, audience, shape
from assistants.test_admission import ask, error
from django.test import Client
from openai import OpenAI

from menhir.errors import Unauthenticated
from menhir.metering.limits.models import Limit
from menhir.metering.models import Call
from menhir.tenancy import authentication, tokens
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from peers.issuer import SigningKey


def test_an_end_user_calls_with_a_token(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem)
    client = OpenAI(base_url=f"{acmes.server.base_url}/v1", api_key=signer.token(iss=ISS, aud=audience(acmes.person)), max_retries=0)
    assert client.chat.completions.create(**QUESTION).choices[0].message.content
    assert [model.id for model in client.models.list()] == ["local/all-MiniLM-L6-v2", "plain"]
    with tenant_transaction(acmes.tenant):
        row = Call.objects.within(acmes.tenant).get()
    assert (row.api_key_id, row.user_id) == (None, None)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_family_of_algorithms_by_jwks(acmes: Company, algorithm: str):
    signer, other = SigningKey("mine", algorithm), SigningKey("other", algorithm)
    accept(acmes.person, keys=json.dumps({"keys": [other.jwk, signer.jwk, {"kty": "new", "kid": "x"}]}), algorithms=[algorithm])
    said = {"iss": ISS, "aud": ["somebody", audience(acmes.person)]}
    assert ask(acmes, "POST", CHAT, QUESTION, key=signer.token(**said))[0] == 200
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=SigningKey("third", algorithm).token(**said)), 401)["code"] == "unknown_key"
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=SigningKey("mine", algorithm).token(**said)), 401)["code"] == "bad_signature"
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=signer.token(**said, head={})), 401)["code"] == "unknown_key"


def test_a_shared_secret(acmes: Company):
    secret = "s" * 40
    issuer = accept(acmes.person, algorithms=["HS256"], secret=secret)
    assert secret.encode() not in bytes(issuer.sealed)
    claims = {"iss": ISS, "aud": audience(acmes.person), "sub": "anna", "exp": int(time.time()) + 60}
    assert ask(acmes, "POST", CHAT, QUESTION, key=jwt.encode(claims, secret, "HS256"))[0] == 200
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=jwt.encode(claims, "x" * 40, "HS256")), 401)["code"] == "bad_signature"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "code", "says"),
    [
        ({"exp": NOW - 3600, "iat": NOW - 7200}, "expired_token", "expired"),
        ({"exp": None}, "invalid_token", "`exp`"),
        ({"exp": NOW + 90 * 86400}, "invalid_token", "longer"),
        ({"exp": NOW + 90 * 86400, "iat": None}, "invalid_token", "longer"),
        ({"exp": float("inf")}, "invalid_token", "sense"),
        ({"nbf": NOW + 3600}, "invalid_token", "not valid yet"),
        ({"iat": NOW + 3600, "exp": NOW + 7200}, "invalid_token", "not valid yet"),
        ({"aud": "menhir:nobody"}, "unknown_issuer", "accept"),
        ({"aud": "somebody else"}, "wrong_audience", "which tenant"),
        ({"aud": None}, "wrong_audience", "which tenant"),
        ({"aud": {"a": 1}}, "wrong_audience", "which tenant"),
        ({"iss": "https://evil.example.com/"}, "unknown_issuer", "accept"),
        ({"iss": None}, "unknown_issuer", "accept"),
        ({"sub": None}, "invalid_token", "`sub`"),
        ({"sub": ""}, "invalid_token", "`sub`"),
        ({"sub": "a\x00b"}, "invalid_token", "`sub`"),
        ({"sub": "x" * 300}, "invalid_token", "`sub`"),
        ({"sub": {"id": 1}}, "invalid_token", "`sub`"),
    ],
)
def test_each_refusal_says_what_is_wrong(acmes: Company, signer: SigningKey, claims: dict, code: str, says: str):
    accept(acmes.person, keys=signer.pem)
    token = signer.token(**{"iss": ISS, "aud": audience(acmes.person), **claims})
    refused = error(ask(acmes, "POST", CHAT, QUESTION, key=token), 401)
    assert (refused["type"], refused["code"]) == ("authentication_error", code)
    assert says in refused["message"]
    assert acmes.upstream.stats.requests == 0


def test_the_clock_may_differ_as_much_as_is_allowed(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem, leeway_seconds=120)
    late = signer.token(iss=ISS, aud=audience(acmes.person), iat=NOW - 300, exp=int(time.time()) - 60)
    assert ask(acmes, "POST", CHAT, QUESTION, key=late)[0] == 200


def test_the_algorithm_is_ours_to_say(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem)
    claims = {"iss": ISS, "aud": audience(acmes.person), "sub": "anna", "exp": int(time.time()) + 60}
    unsigned = jwt.encode(claims, None, "none")
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=unsigned), 401)["code"] == "bad_signature"

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    # The public key, which everybody may read, taken for a shared secret.
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    seal = base64.urlsafe_b64encode(hmac.new(signer.pem.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=(signed + b"." + seal).decode()), 401)["code"] == "bad_signature"
    own = SigningKey("own")
    brought = own.token(iss=ISS, aud=audience(acmes.person), head={"kid": "key-1", "jwk": own.jwk, "jku": "https://evil.example.com/keys"})
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=brought), 401)["code"] == "bad_signature"
    good = signer.token(iss=ISS, aud=audience(acmes.person))
    head, _, rest = good.partition(".")
    for wrong in (f"{head}..", f"{head}.{rest[:-6]}AAAAAA", f"ey.{rest}", "ey", "eyJ" + "A" * 9000):
        assert error(ask(acmes, "POST", CHAT, QUESTION, key=wrong), 401)["code"] in {"invalid_token", "bad_signature"}
    assert acmes.upstream.stats.requests == 0


def test_mallory_configures_alices_issuer_and_opens_her_own_door_alone(acmes: Company, globexs: Company, signer: SigningKey):
    """Confusion: the same `iss` with her own key; alice's audience under her own roof; alice's tokens drawn into Globex."""
    mallory, own = globexs.person, SigningKey("key-1")
    accept(acmes.person, keys=signer.pem)
    accept(mallory, keys=own.pem)
    forged = own.token(iss=ISS, aud=audience(acmes.person))
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=forged), 401)["code"] == "bad_signature"
    mine = own.token(iss=ISS, aud=audience(mallory))
    assert ask(acmes, "POST", CHAT, QUESTION, key=mine)[0] == 200
    for token in (forged, mine):
        refused = error(ask(acmes, "POST", CHAT, QUESTION, key=token, **{"openai-organization": acmes.tenant.slug}), 401)
        assert refused["code"] in {"bad_signature", "wrong_audience"}
    answer = mallory.api().post(
        "/api/v1/token-issuers", {**shape(own), "audience": audience(acmes.person)}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["param"]) == (400, "audience")
    with tenant_transaction(mallory.tenant):  # even if she had it in the table
        TokenIssuer.objects.within(mallory.tenant).update(audience=audience(acmes.person))
    alices = signer.token(iss=ISS, aud=audience(acmes.person), sub="anna")
    assert ask(acmes, "POST", CHAT, QUESTION, key=alices)[0] == 200
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=alices, **{"openai-organization": mallory.tenant.slug}), 401)
    with tenant_transaction(mallory.tenant):
        assert Call.objects.within(mallory.tenant).count() == 1
    with tenant_transaction(acmes.tenant):
        assert Call.objects.within(acmes.tenant).count() == 1


def test_an_audience_of_its_own_needs_the_tenant_in_the_request(acmes: Company, globexs: Company, signer: SigningKey):
    """Both trust the same issuer and the same application of it: the request says for whom it is."""
    for company in (acmes, globexs):
        accept(company.person, keys=signer.pem, audience="client-123")
    token = signer.token(iss=ISS, aud="client-123")
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=token), 401)["code"] == "wrong_audience"
    for company in (acmes, globexs):
        client = OpenAI(base_url=f"{acmes.server.base_url}/v1", api_key=token, organization=company.tenant.slug, max_retries=0)
        client.chat.completions.create(**QUESTION)
        with tenant_transaction(company.tenant):
            assert Call.objects.within(company.tenant).count() == 1


def test_claims_say_what_is_allowed(acmes: Company, signer: SigningKey):
    acmes.model("fine")
    accept(acmes.person, keys=signer.pem, scope_claim="scope", scope_value="chat:use", models_claim="models", user_claim="email")
    said = {"iss": ISS, "aud": audience(acmes.person), "email": "anna@example.com", "models": ["plain"]}
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=signer.token(**said)), 403)
    token = signer.token(**said, scope="openid chat:use")
    assert ask(acmes, "POST", CHAT, QUESTION, key=token)[0] == 200
    assert error(ask(acmes, "POST", CHAT, {**QUESTION, "model": "fine"}, key=token), 404)["code"] == "model_not_found"
    assert [model["id"] for model in ask(acmes, "GET", "/v1/models", key=token)[1]["data"]] == ["plain"]
    none = signer.token(**{**said, "models": None}, scope=["chat:use"])
    assert ask(acmes, "GET", "/v1/models", key=none)[1]["data"] == []
    assert ask(acmes, "GET", "/api/v1/prompts", key=token)[0] == 401


def _verify(company: Company, token: str, organization: bytes | None = None):
    found = tokens.principal_of_token(token, organization)
    return asyncio.run_coroutine_threadsafe(found, company.server.loop).result(20)


def test_the_principal_names_the_user(acmes: Company, signer: SigningKey):
    issuer = accept(acmes.person, keys=signer.pem)
    who = _verify(acmes, signer.token(iss=ISS, aud=audience(acmes.person), sub=42))
    assert (who.kind, who.id, who.name, who.unit) == ("end_user", issuer.id, "42", "42")
    assert (who.tenant_id, who.scopes, who.key_id, who.user_id) == (acmes.tenant.id, {"inference"}, None, None)


@pytest.fixture
def once(acmes: Company) -> None:
    """Each user of Acme's may make one call an hour."""
    with tenant_transaction(acmes.tenant):
        Limit.set(acmes.tenant, subject="user", metric="requests", period="hour", amount=Decimal(1))


def _called(company: Company, token: str, **said: str) -> int:
    status, body = ask(company, "POST", CHAT, {**QUESTION, **said}, key=token)[:2]
    assert status in {200, 429}
    assert status == 200 or body["error"]["code"] == "rate_limit_exceeded"
    return status


def _units(company: Company) -> set[str | None]:
    with tenant_transaction(company.tenant):
        return set(Call.objects.within(company.tenant).values_list("unit", flat=True))


@pytest.mark.usefixtures("once")
def test_each_end_user_has_limits_of_his_own_and_cannot_call_himself_another(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem)
    anna, bert = (signer.token(iss=ISS, aud=audience(acmes.person), sub=name) for name in ("anna", "bert"))
    assert [_called(acmes, anna), _called(acmes, anna)] == [200, 429]
    assert _called(acmes, anna, user="somebody", safety_identifier="else") == 429
    assert [_called(acmes, bert, user="anna"), _called(acmes, bert)] == [200, 429]
    assert _units(acmes) == {"anna", "bert"}


@pytest.mark.usefixtures("once")
def test_two_issuers_may_give_one_name_to_two_people(acmes: Company, signer: SigningKey):
    api = acmes.person.api("keys:write")
    said = {"algorithms": ["RS256"], "keys": signer.pem}
    partners = "https://partners.example.com/"
    made = [
        _post(api, "POST", "", **said, name=name, issuer=issuer, **more)
        for name, issuer, more in (("Staff", ISS, {}), ("Partners", partners, {}), ("Partners' app", partners, {"audience": "app"}))
    ]
    assert [issuer["user_prefix"] for issuer in made] == ["", "partners:", "partners:"]
    ours, theirs = (signer.token(iss=issuer, aud=audience(acmes.person), sub="anna") for issuer in (ISS, partners))
    assert [_called(acmes, ours), _called(acmes, ours)] == [200, 429]
    assert [_called(acmes, theirs), _called(acmes, theirs)] == [200, 429]
    assert _units(acmes) == {"anna", "partners:anna"}
    # A program that names a user means the same one, and whoever comes by another door of the same issuer is the same one.
    key = acmes.person.key("inference")
    assert [_called(acmes, key, user=name) for name in ("anna", "partners:anna", "carol")] == [429, 429, 200]
    # What is said of an issuer anew, without a word about this, leaves it as it is; said, it makes one of the two.
    assert _post(api, "PUT", f"/{made[1]['id']}", **said, name="Partners", issuer=partners)["user_prefix"] == "partners:"
    assert _post(api, "PUT", f"/{made[1]['id']}", **said, name="Partners", issuer=partners, user_prefix="")["user_prefix"] == ""
    bert = [signer.token(iss=issuer, aud=audience(acmes.person), sub="bert") for issuer in (ISS, partners)]
    until = time.monotonic() + 5
    while _verify(acmes, bert[1]).unit != "bert":
        assert time.monotonic() < until
    assert [_called(acmes, token) for token in bert] == [200, 429]


def test_a_name_that_is_too_long_with_its_prefix_is_refused(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem, user_prefix="partners:")
    said = {"iss": ISS, "aud": audience(acmes.person)}
    assert _verify(acmes, signer.token(**said, sub="x" * 247)).unit == "partners:" + "x" * 247
    assert error(ask(acmes, "POST", CHAT, QUESTION, key=signer.token(**said, sub="x" * 248)), 401)["code"] == "invalid_token"


def _post(api: Client, method: str, path: str, **body: object) -> dict[str, Any]:
    answer = api.generic(method, f"/api/v1/token-issuers{path}", json.dumps(body), content_type="application/json")
    assert answer.status_code in {200, 201}, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_what_strangers_send_is_not_remembered(acmes: Company, signer: SigningKey):
    async def refused() -> None:
        for number in range(300):
            long = f"{number:06}" * 1000
            attempts = (
                authentication.principal_of_key(f"mh_live_{long}{long}"),
                tokens.principal_of_token(signer.token(iss=long, aud=audience(acmes.person))),
                tokens.principal_of_token(signer.token(iss=ISS, aud=f"menhir:{long}")),
                tokens.principal_of_token(signer.token(iss=ISS, aud="x"), (long * 10).encode()),
            )
            for attempt in attempts:
                with pytest.raises(Unauthenticated):
                    await attempt

    tracemalloc.start()
    try:
        asyncio.run_coroutine_threadsafe(refused(), acmes.server.loop).result(60)
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_an_issuer_that_is_deleted_admits_nobody_within_a_second(acmes: Company, signer: SigningKey):
    issuer = accept(acmes.person, keys=signer.pem)
    token = signer.token(iss=ISS, aud=audience(acmes.person))
    assert ask(acmes, "GET", "/v1/models", key=token)[0] == 200
    assert acmes.person.api().delete(f"/api/v1/token-issuers/{issuer.id}").status_code == 204
    until = time.monotonic() + timedelta(seconds=1).total_seconds()
    while (answer := ask(acmes, "GET", "/v1/models", key=token))[0] == 200:
        assert time.monotonic() < until
    assert error(answer, 401)["code"] == "unknown_issuer"


def test_a_token_expires_in_the_cache_too(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem, leeway_seconds=0)
    token = signer.token(iss=ISS, aud=audience(acmes.person), exp=int(time.time()) + 2)
    assert ask(acmes, "GET", "/v1/models", key=token)[0] == 200
    until = time.monotonic() + 5
    while (answer := ask(acmes, "GET", "/v1/models", key=token))[0] == 200:
        assert time.monotonic() < until
    assert error(answer, 401)["code"] == "expired_token"


def test_a_second_call_costs_less_than_ten_microseconds(acmes: Company, signer: SigningKey):
    accept(acmes.person, keys=signer.pem)
    token = signer.token(iss=ISS, aud=audience(acmes.person))

    async def cost() -> float:
        await tokens.principal_of_token(token)
        best = float("inf")
        for _ in range(7):
            began = time.perf_counter()
            for _ in range(500):
                await tokens.principal_of_token(token)
            best = min(best, (time.perf_counter() - began) / 500)
        return best

    best = asyncio.run_coroutine_threadsafe(cost(), acmes.server.loop).result(20)
    assert best < 10e-6, f"{best * 1e6:.1f} µs"
