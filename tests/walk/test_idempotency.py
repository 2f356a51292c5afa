"""`Idempotency-Key`: the same call once, whoever asks again, through whichever process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import psycopg
import pytest

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.servers import eventually

MESSAGES = [{"role": "user", "content": "What is a menhir?"}]
ROUTES = {
    "chat": "fake",
    "slow": "fake?first_ms=700",
    "stuck": "fake?first_ms=60000",
    "stream": "fake?chunks=6&gap_ms=100",
    "busy": "fake?status=500",
    "cut": "fake?chunks=5&cut=3",
    "embeddings": "fake",
}


def give_routes(person, upstream) -> None:
    with tenant_transaction(person.tenant):
        provider = Provider(tenant=person.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        for name, orders in ROUTES.items():
            Route.objects.create(tenant=person.tenant, name=name, retries=0).lead_to((provider, orders))


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self):
        return json.loads(self.body)["error"]


@pytest.fixture(scope="module")
def peer():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(peer, alice, mallory):
    peer.reset()
    give_routes(alice, peer)
    give_routes(mallory, peer)
    return peer


async def call(session, base_url, key, idempotency_key, *, path="chat/completions", **body):
    body = {"messages": MESSAGES, **body}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key}
    async with session.post(f"{base_url}/v1/{path}", json=body, headers=headers) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


def test_a_call_is_made_once_and_replayed(server, alice, bob, mallory, upstream):
    key = alice.key()
    theirs = mallory.key()
    another = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:

            async def ask(key, name="one", **body):
                return await call(session, server.base_url, key, name, **{"model": "chat", **body})

            first = await ask(key)
            again = await ask(key)
            assert upstream.stats.requests == 1
            assert (first.status, again.status, again.body) == (200, 200, first.body)
            assert "idempotency-replayed" not in first.headers
            assert (again.headers["idempotency-replayed"], again.headers["x-menhir-cost"]) == ("true", "0")
            assert again.headers["content-type"] == first.headers["content-type"]
            assert again.headers["x-menhir-route"] == "chat"
            assert again.headers["x-request-id"] != first.headers["x-request-id"]
            # Another key of ours, another tenant, another key of his: each its own call.
            for other in (
                await ask(another),
                await ask(theirs),
                await ask(key, "two"),
            ):
                assert "idempotency-replayed" not in other.headers
            assert upstream.stats.requests == 4
            reused = await ask(key, messages=[{"role": "user", "content": "Something else"}])
            assert (reused.status, reused.error["code"], reused.error["param"]) == (409, "idempotency_key_reused", "Idempotency-Key")
            assert (reused.error["type"], reused.headers["x-should-retry"]) == ("invalid_request_error", "false")
            assert upstream.stats.requests == 4

    asyncio.run(scene())


def test_a_key_is_new_again_after_a_day(server, alice, upstream, superuser):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            first = await call(session, server.base_url, key, "daily", model="chat")
            other = {"messages": [{"role": "user", "content": "Something else"}], "model": "chat"}
            assert (await call(session, server.base_url, key, "daily", **other)).status == 409
            with psycopg.connect(superuser) as connection:
                aged = "UPDATE gateway_idempotent_call SET expires_at = now() - interval '1 second' WHERE tenant_id = %s"
                assert connection.execute(aged, [alice.tenant.id]).rowcount == 1
            again = await call(session, server.base_url, key, "daily", **other)
            assert (first.status, again.status) == (200, 200)
            assert "idempotency-replayed" not in again.headers
            assert (await call(session, server.base_url, key, "daily", **other)).headers["idempotency-replayed"] == "true"

    asyncio.run(scene())
    assert upstream.stats.requests == 2


@pytest.mark.parametrize("name", ["x" * 256, "", "a\tb", "naïve"])
def test_a_key_that_is_none_is_refused(server, alice, upstream, name):
    another = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            answer = await call(session, server.base_url, another, name, model="chat")
            assert (answer.status, answer.error["param"]) == (400, "Idempotency-Key")

    asyncio.run(scene())
    assert upstream.stats.requests == 0


def test_streams_and_embeddings_are_replayed_as_they_were(server, alice, upstream):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            for name, body in {
                "s": {"model": "stream", "stream": True},
                "u": {"model": "stream", "stream": True, "stream_options": {"include_usage": True}},
                "e": {"model": "embeddings", "input": [f"a text {time.time()}"], "path": "embeddings"},
            }.items():
                first, again = [await call(session, server.base_url, key, name, **body) for _ in range(2)]
                assert (again.body, again.status) == (first.body, 200)
                assert again.headers["content-type"] == first.headers["content-type"]
                assert again.headers["idempotency-replayed"] == "true"
            assert upstream.stats.requests == 3

    asyncio.run(scene())


def test_another_wire_is_replayed_in_that_wire(server, alice, upstream):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            for stream in (False, True):
                body = {"model": "chat", "max_tokens": 50, "stream": stream, "path": "messages"}
                first, again = [await call(session, server.base_url, key, f"m{stream}", **body) for _ in range(2)]
                assert (first.status, again.body) == (200, first.body)
                assert again.headers["idempotency-replayed"] == "true"
            assert upstream.stats.requests == 2

    asyncio.run(scene())


@pytest.mark.parametrize("model", ["busy", "cut", "nowhere"])
def test_a_failure_is_not_kept(server, alice, upstream, model):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            answers = [await call(session, server.base_url, key, "f", model=model, stream=model == "cut") for _ in range(2)]
            assert all("idempotency-replayed" not in answer.headers for answer in answers)
            assert [answer.status for answer in answers] == [{"busy": 503, "cut": 200, "nowhere": 404}[model]] * 2

    asyncio.run(scene())
    assert upstream.stats.requests == (0 if model == "nowhere" else 2)


def test_who_asks_meanwhile_follows_the_call(server, alice, upstream):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            bodies = [{"model": "slow"}, {"model": "stream", "stream": True}]
            for number, body in enumerate(bodies):
                answers = await asyncio.gather(*(call(session, server.base_url, key, f"{number}", **body) for _ in range(3)))
                assert len({answer.body for answer in answers}) == 1
                assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", "true", "true"]
            assert upstream.stats.requests == 2

    asyncio.run(scene())


def test_a_client_who_hung_up_finds_his_call_when_he_asks_again(server, alice, upstream):
    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.3):
                    await call(session, server.base_url, key, "h", model="slow")
            again = await call(session, server.base_url, key, "h", model="slow")
            assert again.status == 200
            assert (upstream.stats.requests, upstream.stats.cancelled) == (1, [])

    asyncio.run(scene())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_make_one_call(web, alice, upstream, superuser):
    one, two = web(), web()

    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            for number, body in enumerate([{"model": "slow"}, {"model": "stream", "stream": True}]):
                answers = await asyncio.gather(*(call(session, place.base_url, key, f"{number}", **body) for place in (one, two, one, two)))
                assert len({answer.body for answer in answers}) == 1
                assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == 3
            assert upstream.stats.requests == 2
            reused = await call(session, two.base_url, key, "0", model="slow", temperature=1)
            assert reused.status == 409

    asyncio.run(scene())
    with psycopg.connect(superuser) as connection:
        rows = connection.execute("SELECT count(*) FROM metering_call WHERE tenant_id = %s", [alice.tenant.id]).fetchone()
    assert rows == (2,), "a replay is the same call: it is in the ledger once"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_claim_of_a_dead_process_is_taken_over(web, alice, upstream, superuser):
    one, two = web(), web()

    key = alice.key()

    async def scene():
        async with aiohttp.ClientSession() as session:
            holding = asyncio.create_task(call(session, one.base_url, key, "k", model="stuck"))
            await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 1)
            await asyncio.to_thread(one.kill)
            with pytest.raises(aiohttp.ClientError):
                await holding
            waiting = asyncio.create_task(call(session, two.base_url, key, "k", model="stuck"))
            # He waits for as long as the dead process might be alive, and then makes the call himself.
            await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 2, seconds=40)
            assert upstream.stats.requests == 2
            waiting.cancel()

    asyncio.run(scene())


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_table_of_answers_serves_every_process(web, alice, mallory, upstream, superuser):
    with tenant_transaction(alice.tenant):
        route = Route.objects.within(alice.tenant).get(name="chat")
        route.cache_seconds = 60
        route.save()
    one, two = web(), web()

    key = alice.key()
    theirs = mallory.key()

    async def scene():
        async with aiohttp.ClientSession() as session:

            async def ask(place, key):
                headers = {"Authorization": f"Bearer {key}"}
                async with session.post(
                    f"{place.base_url}/v1/chat/completions", json={"model": "chat", "messages": MESSAGES}, headers=headers
                ) as answer:
                    return answer.headers.get("x-menhir-cache"), await answer.read()

            cached, body = await ask(one, key)
            assert cached == "miss"

            def kept():
                with psycopg.connect(superuser) as connection:
                    return connection.execute("SELECT 1 FROM gateway_cached_answer WHERE tenant_id = %s", [alice.tenant.id]).fetchone()

            await asyncio.to_thread(eventually, kept, seconds=5, what="the answer being in the table")
            assert await ask(two, key) == ("hit", body)
            assert (await ask(two, theirs))[0] is None
            assert upstream.stats.requests == 2

    asyncio.run(scene())
