"""Keys of an issuer at a URL: fetched when they are needed, kept while it is away, and never from inside."""

from __future__ import annotations

import asyncio
import gzip
import json
from ipaddress import ip_network

import pytest
from assistants.conftest import Company
from assistants.end_users.conftest import ISS, accept, audience
from assistants.test_admission import ask, error
from django.test import override_settings

from menhir.errors import Invalid
from menhir.tenancy.jwks import KeysUnavailable, RemoteKeys

from peers.issuer import KeyServer, SigningKey
from stage.cast import Person


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
