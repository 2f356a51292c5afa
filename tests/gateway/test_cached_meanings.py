"""Questions that mean the same: near enough, in the same context, where the route allows it, and never anybody else's."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from knowledge.modelpeer import Peer

from apps.assistants.front import application
from apps.gateway import client
from apps.gateway.cache import exact, semantic
from apps.gateway.provisioning import local_embedding_model
from menhir.metering.ledger import ledger

from peers.caller import ask, call_of, ledger_row

pytestmark = pytest.mark.usefixtures("gateway")
QUESTION = "how do I revoke an API key that was lost"
NEAR = "how do I revoke an API key which was lost"
FAR = "what is a menhir made of"


@pytest.fixture
def model():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
async def similar(routes, model):
    """A route that takes near questions for the same, and the tenant's local model."""
    client.use_application(application)
    await routes.to("bag-of-words", name=local_embedding_model(), base_url=model.base_url)
    return await routes.to("gpt-4o-mini", policy={"cache_seconds": 3600, "semantic_threshold": 0.8})


def asking(who, model, question, *, before=(), **body):
    return call_of(who.principal, model, messages=[*before, {"role": "user", "content": question}], **body)


async def how(call):
    headers = (await ask(call)).headers
    await exact.shelf.written()
    return headers.get("x-menhir-cache")


async def test_a_near_question_gets_the_same_answer(alice, bob, similar, upstream):
    first, near = asking(alice, similar, QUESTION), asking(bob, similar, NEAR)
    one = await ask(first)
    await exact.shelf.written()
    two = await ask(near)
    assert upstream.stats.requests == 1
    assert (one.headers["x-menhir-cache"], two.headers["x-menhir-cache"], two.headers["x-menhir-cost"]) == ("miss", "semantic", "0")
    assert two.body == one.body
    assert await how(asking(alice, similar, FAR)) == "miss"
    await ledger.noted()
    assert ledger_row(near.id)["provider"] == "cache"


async def test_embedding_the_question_is_a_call_of_its_own(alice, similar, model, superuser):
    await ask(asking(alice, similar, QUESTION))
    with psycopg.connect(superuser) as connection:
        rows = connection.execute(
            "SELECT operation, model FROM metering_call WHERE tenant_id = %s ORDER BY operation", [alice.tenant.id]
        ).fetchall()
    assert rows == [("chat", similar), ("embeddings", local_embedding_model())]


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.1},
        {"stream": True},
        {"before": [{"role": "system", "content": "Answer in French."}]},
        {"before": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
)
async def test_only_the_last_message_may_differ(alice, similar, other):
    assert await how(asking(alice, similar, QUESTION)) == "miss"
    assert await how(asking(alice, similar, NEAR, **other)) == "miss"
    assert await how(asking(alice, similar, QUESTION, **other)) == "semantic"
    assert await how(asking(alice, similar, NEAR)) == "semantic"


async def test_never_across_tenants_routes_or_versions_of_a_prompt(alice, mallory, routes, similar, model, upstream):
    from menhir.postgres.ids import uuid7

    theirs = type(routes)(mallory.tenant, upstream.base_url)
    await theirs.to("bag-of-words", name=local_embedding_model(), base_url=model.base_url)
    policy = {"cache_seconds": 3600, "semantic_threshold": 0.5}
    await theirs.to("gpt-4o-mini", name=similar, policy=policy)
    other = await routes.to("gpt-4o-mini", policy=policy)
    assert await how(asking(alice, similar, QUESTION)) == "miss"
    assert await how(asking(mallory, similar, NEAR)) == "miss"
    assert await how(asking(alice, other, NEAR)) == "miss"
    versioned = asking(alice, similar, NEAR)
    versioned.prompt_version_id = uuid7()
    assert await how(versioned) == "miss"


async def test_a_stricter_route_asks_again(alice, routes, similar):
    assert await how(asking(alice, similar, QUESTION)) == "miss"
    await routes.set(similar, semantic_threshold=0.99)
    assert await how(asking(alice, similar, NEAR)) == "miss"


async def test_where_the_model_is_away_words_decide(alice, routes, similar, model):
    model.fail(503)
    assert await how(asking(alice, similar, QUESTION)) == "miss"
    assert await how(asking(alice, similar, QUESTION)) == "hit"
    assert await how(asking(alice, similar, NEAR)) == "miss"


async def test_where_the_model_is_slow_nobody_waits_for_it(alice, similar, model, monkeypatch):
    monkeypatch.setattr(semantic, "PATIENCE_SECONDS", 0.1)
    model.held.clear()
    async with asyncio.timeout(5):
        assert await how(asking(alice, similar, QUESTION)) == "miss"
    assert model.asked.is_set()
