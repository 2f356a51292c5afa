"""Vectors that are kept for ever: who is asked for what is missing, in which form it is given, and to whom never."""

from __future__ import annotations

import base64
import struct

import psycopg
import pytest

from apps.gateway.cache import upkeep, vectors
from apps.gateway.cache.embeddings import embeddings
from apps.gateway.errors import UpstreamDown
from menhir.metering.ledger import ledger

from peers.caller import ask, call_of, fake, ledger_row

pytestmark = pytest.mark.usefixtures("gateway")
TEXTS = [f"text {number}" for number in range(20)]


@pytest.fixture
async def model(routes):
    return await routes.to("text-embedding-3-small", tariff="openai")


async def embed(who, model, texts=TEXTS, *, control=None, **body):
    call = call_of(who.principal, model, operation="embeddings", input=texts, **body)
    call.cache_control = control
    client = await ask(call)
    await vectors.shelf.written()
    embeddings.clear()
    return call, client


def numbers(client):
    return [
        list(struct.unpack(f"<{len(raw) // 4}f", raw)) if (raw := encoded(item["embedding"])) is not None else item["embedding"]
        for item in client.json["data"]
    ]


def encoded(said):
    return base64.b64decode(said) if isinstance(said, str) else None


def close(one, other):
    return all(a == pytest.approx(b, rel=1e-6, abs=1e-7) for a, b in zip(one, other, strict=True))


async def test_what_was_embedded_once_is_never_asked_again(alice, bob, model, upstream):
    _, first = await embed(alice, model)
    call, again = await embed(bob, model)
    assert upstream.stats.requests == 1
    assert close(numbers(again), numbers(first))
    assert [item["index"] for item in again.json["data"]] == list(range(20))
    assert (again.headers["x-menhir-cache"], again.headers["x-menhir-cost"]) == ("hit", "0")
    assert again.json["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    await ledger.noted()
    row = ledger_row(call.id)
    assert (row["operation"], row["provider"], row["cost"], row["input_tokens"]) == ("embeddings", "cache", 0, 0)


@pytest.mark.parametrize("form", ["float", "base64", None])
@pytest.mark.parametrize("then", ["float", "base64", None])
async def test_both_forms_are_served_from_one(alice, model, upstream, form, then):
    _, first = await embed(alice, model, **({"encoding_format": form} if form else {}))
    _, again = await embed(alice, model, **({"encoding_format": then} if then else {}))
    assert upstream.stats.requests == 1
    assert close(numbers(again), numbers(first))
    assert all(isinstance(item["embedding"], str if then == "base64" else list) for item in again.json["data"])


async def test_only_what_is_missing_is_asked_for(alice, model, upstream):
    _, known = await embed(alice, model, ["a", "b"])
    call, client = await embed(alice, model, ["new", "b", "newer", "a", "new"])
    assert upstream.stats.bodies[-1]["input"] == ["new", "newer"]
    a, b = numbers(known)
    got = numbers(client)
    assert close([got[1], got[3]], [b, a])
    assert got[0] == got[4] != got[2]
    assert [item["index"] for item in client.json["data"]] == [0, 1, 2, 3, 4]
    assert client.json["usage"]["prompt_tokens"] == 2
    assert client.headers["x-menhir-cache"] == "partial"
    assert int(client.headers["content-length"]) == len(client.body)
    row = ledger_row(call.id)
    assert (row["outcome"], row["input_tokens"], row["provider"]) == ("completed", 2, f"{model}-0")
    _, fresh = await embed(alice, model, ["new", "newer"])
    assert (upstream.stats.requests, close(numbers(fresh), [got[0], got[2]])) == (2, True)


async def test_nothing_is_shared_between_tenants_places_or_parameters(alice, mallory, routes, model, upstream):
    await embed(alice, model)
    theirs = type(routes)(mallory.tenant, upstream.base_url)
    await embed(mallory, await theirs.to("text-embedding-3-small", name=model, tariff="openai"))
    await embed(alice, await routes.to("text-embedding-3-small"))
    await embed(alice, await routes.to("another"))
    await embed(alice, model, dimensions=8)
    await embed(alice, model, input_type="query")
    assert upstream.stats.requests == 6
    await embed(alice, model, user="someone")
    assert upstream.stats.requests == 6


async def test_two_models_are_never_mixed(alice, routes, upstream):
    model = await routes.to(fake(status=500), "second")
    await embed(alice, model, ["a"])
    await embed(alice, model, ["a", "b"])
    assert upstream.stats.bodies[-1]["input"] == ["a", "b"]


async def test_no_cache_and_no_store(alice, model, upstream):
    await embed(alice, model, control=b"no-store")
    await embed(alice, model, control=b"no-cache")
    assert upstream.stats.requests == 2
    await embed(alice, model)
    assert upstream.stats.requests == 2
    await embed(alice, model, ["b"], control=b"no-store")
    await embed(alice, model, ["b"])
    assert upstream.stats.requests == 4


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
async def test_tokens_are_passed_on(alice, model, upstream, tokens):
    for _ in range(2):
        _, client = await embed(alice, model, tokens)
        assert client.status == 200
    assert upstream.stats.requests == 2


@pytest.mark.parametrize("said", [b"[]", b'""', b'"AAA"', b"[1, true]", b"{}", b"[1e999]"])
def test_what_is_no_vector_is_not_kept(said):
    assert vectors.packed(said) is None


async def test_the_oldest_of_too_many_go(alice, mallory, model, superuser):
    await embed(alice, model, TEXTS[:5])
    await embed(alice, model, TEXTS[5:8])
    with psycopg.connect(superuser, autocommit=True) as connection:

        def count(person):
            return connection.execute("SELECT count(*) FROM gateway_cached_embedding WHERE tenant_id = %s", [person.tenant.id]).fetchone()[
                0
            ]

        assert count(alice) == 8
        connection.execute(
            "UPDATE gateway_cached_embedding SET created_at = now() - interval '1 day' WHERE tenant_id = %s AND created_at < "
            "(SELECT max(created_at) FROM gateway_cached_embedding WHERE tenant_id = %s)",
            [alice.tenant.id, alice.tenant.id],
        )
        await upkeep.prune(most=3)
        assert count(alice) == 3


async def test_vectors_that_nobody_can_tell_apart_are_not_put_between_known_ones(alice, routes, upstream):
    model = await routes.to(fake(chunks=2))
    await embed(alice, model, TEXTS[:2])
    with pytest.raises(UpstreamDown):
        await embed(alice, model, TEXTS[:5])
    assert upstream.stats.requests == 2
    _, again = await embed(alice, model, TEXTS[:2])
    assert again.headers["x-menhir-cache"] == "hit"
