"""End users with tokens of their tenant's identity provider: who is let in, as whom, into which tenant."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import jwt
import pytest
from assistants.conftest import Company
from assistants.test_admission import ask, error
from django.test import Client, override_settings
from openai import OpenAI

from menhir.audit.models import Entry
from menhir.errors import Invalid, Unauthenticated
from menhir.metering.limits.models import Limit
from menhir.metering.models import Call
from menhir.tenancy import authentication, tokens
from menhir.tenancy.jwks import KeysUnavailable, RemoteKeys
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from peers.issuer import KeyServer, SigningKey
from stage.cast import Person

ISS = "https://login.example.com/"
CHAT = "/v1/chat/completions"
QUESTION = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def signer() -> SigningKey:
    return SigningKey("key-1")


@pytest.fixture
def key_server(signer: SigningKey) -> Iterator[KeyServer]:
    """Serves the signer's key; reached by plain http, as an operator may allow it for networks of his own."""
    with KeyServer() as server, override_settings(MENHIR_PRIVATE_NETWORKS=(ip_network("127.0.0.0/8"),)):
        server.keys = [signer]
        yield server


def accept(person: Person, **fields: object) -> TokenIssuer:
    """An issuer that a person's tenant accepts."""
    secret = fields.pop("secret", "")
    with tenant_transaction(person.tenant):
        issuer = TokenIssuer(tenant=person.tenant, **{"name": "Login", "issuer": ISS, "algorithms": ["RS256"], **fields})
        if secret:
            issuer.set_secret(secret)
        issuer.keep()
    return issuer


def audience(person: Person) -> str:
    return f"menhir:{person.tenant.slug}"


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


def test_keys_at_a_url(acmes: Company, signer: SigningKey, key_server: KeyServer):
    accept(acmes.person, keys_url=key_server.url)
    said = {"iss": ISS, "aud": audience(acmes.person)}
    for number in range(5):
        assert ask(acmes, "GET", "/v1/models", key=signer.token(**said, sub=f"user-{number}"))[0] == 200
    assert key_server.requests == 1
    for number in range(5):  # invented names do not make us hammer the issuer
        assert error(ask(acmes, "GET", "/v1/models", key=SigningKey(f"new-{number}").token(**said)), 401)["code"] == "unknown_key"
    assert key_server.requests == 1


async def test_a_new_key_is_looked_up_and_an_issuer_that_is_away_keeps_his(signer: SigningKey, key_server: KeyServer):
    remote = RemoteKeys(key_server.url, unknown_seconds=0.0, fresh_seconds=0.0)
    assert await remote.find("key-1", "RS256") is not None
    new = SigningKey("key-2")
    key_server.keys = [signer, new]
    assert await remote.find("key-2", "RS256") is not None
    key_server.status = 503
    for _ in range(3):
        assert await remote.find("key-1", "RS256") is not None
    assert await remote.find("key-3", "RS256") is None
    many = await asyncio.gather(*(RemoteKeys(key_server.url).find("key-1", "RS256") for _ in range(2)), return_exceptions=True)
    assert all(isinstance(one, KeysUnavailable) for one in many)


async def test_a_withdrawn_key_admits_nobody_while_the_issuer_is_asked(signer: SigningKey, key_server: KeyServer):
    remote = RemoteKeys(key_server.url, unknown_seconds=0.0, fresh_seconds=0.0)
    assert await remote.find("key-1", "RS256") is not None
    key_server.keys = [SigningKey("key-2")]
    found = await asyncio.gather(*(remote.find("key-1", "RS256") for _ in range(5)))
    assert found == [None] * 5


async def test_keys_are_asked_for_again_before_anybody_must_wait(key_server: KeyServer):
    remote = RemoteKeys(key_server.url, unknown_seconds=0.0, fresh_seconds=0.0001)
    assert await remote.find("key-1", "RS256") is not None
    remote._fresh_seconds = 3600.0
    remote._fetched -= 2000.0
    assert await remote.find("key-1", "RS256") is not None
    assert remote._fetching is not None
    assert not remote._fetching.done()
    await remote._fetching
    assert key_server.requests == 2


@pytest.mark.parametrize("url", ["https://login.example.com/\x01", "https://login\x7f.example.com/", "https://login.exa\nmple.com/"])
def test_an_address_that_is_none_is_refused_when_it_is_saved(acme, alice: Person, url: str):
    body = {"name": "Login", "issuer": ISS, "algorithms": ["RS256"], "keys_url": url}
    refused = alice.api().post("/api/v1/token-issuers", body, content_type="application/json")
    assert 400 <= refused.status_code < 500
    with pytest.raises(Invalid) as refusal:
        accept(alice, keys_url=url)
    assert refusal.value.param == "keys_url"


async def test_an_address_that_was_saved_all_the_same_is_no_fault_of_ours(key_server: KeyServer):
    for url in ("https://login.example.com/\x01", "https://127.0.0.1/" + "a" * 70_000):
        with pytest.raises(KeysUnavailable):
            await RemoteKeys(url).find("key-1", "RS256")


async def test_those_who_wait_share_one_request(key_server: KeyServer):
    remote = RemoteKeys(key_server.url)
    found = await asyncio.gather(*(remote.find("key-1", "RS256") for _ in range(20)))
    assert None not in found
    assert key_server.requests == 1


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 404},
        {"status": 302, "location": "http://169.254.169.254/latest"},
        {"body": b"{"},
        {"body": b"[]"},
        {"body": b'{"keys": []}'},
        {"body": b'{"keys": [' + b" " * 300_000 + b"]}"},
        {"body": b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"}]}'},
    ],
)
async def test_what_is_no_key_document_is_none(key_server: KeyServer, trouble: dict):
    for name, value in trouble.items():
        setattr(key_server, name, value)
    with pytest.raises(KeysUnavailable):
        await RemoteKeys(key_server.url).find("key-1", "RS256")


async def test_nothing_is_unpacked(signer: SigningKey, key_server: KeyServer):
    key_server.body, key_server.encoding = gzip.compress(json.dumps({"keys": [signer.jwk]}).encode()), "gzip"
    with pytest.raises(KeysUnavailable):
        await RemoteKeys(key_server.url).find("key-1", "RS256")


async def test_addresses_of_the_inside_are_not_called(key_server: KeyServer):
    with override_settings(MENHIR_PRIVATE_NETWORKS=()):
        for url in (
            key_server.url,
            key_server.url.replace("http", "https"),
            "https://localhost/keys",
            "https://169.254.169.254/",
            "https://[::1]/",
        ):
            with pytest.raises(KeysUnavailable):
                await RemoteKeys(url).find("key-1", "RS256")
    with override_settings(MENHIR_PRIVATE_NETWORKS=(ip_network("10.0.0.0/8"),)), pytest.raises(KeysUnavailable):
        await RemoteKeys(key_server.url).find("key-1", "RS256")
    assert key_server.requests == 0


def shape(signer: SigningKey, **more: object) -> dict[str, object]:
    return {"name": "Login", "issuer": ISS, "algorithms": ["RS256"], "keys": signer.pem, **more}


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
