"""Answers that are given again: to whom, for how long, in which form, and what the ledger says of them."""

from __future__ import annotations

import time
from decimal import Decimal

import psycopg
import pytest

from apps.gateway.cache import exact
from apps.gateway.cache.recording import Kept
from apps.gateway.errors import UpstreamDown, UpstreamRefused
from menhir.metering.ledger import ledger

from peers.caller import ask, call_of, fake, ledger_row

pytestmark = pytest.mark.usefixtures("gateway")
USAGE = {"include_usage": True}


@pytest.fixture
async def kept(routes):
    """A route that keeps its answers."""
    return await routes.set(await routes.to("gpt-4o-mini", tariff="openai"), cache_seconds=3600)


def forget() -> None:
    """As another process would be: with an empty memory."""
    exact.memory.clear()


async def test_the_same_question_is_asked_once(alice, bob, kept, upstream):
    first, second = call_of(alice.principal, kept), call_of(bob.principal, kept, user="bob", metadata={"a": "b"}, n=1, temperature=None)
    one, two = await ask(first), await ask(second)
    assert upstream.stats.requests == 1
    assert one.body == two.body
    assert (one.headers["x-menhir-cache"], two.headers["x-menhir-cache"]) == ("miss", "hit")
    assert Decimal(one.headers["x-menhir-cost"]) > 0
    assert (two.headers["x-menhir-cost"], two.headers["x-menhir-attempts"], two.headers["age"]) == ("0", "0", "0")
    assert two.headers["x-menhir-upstream"] == one.headers["x-menhir-upstream"]
    await ledger.noted()
    row = ledger_row(second.id)
    assert (row["outcome"], row["status"], row["provider"], row["cost"], row["input_tokens"]) == ("completed", 200, "cache", 0, 0)
    assert (row["user_id"], row["route"], row["stream"], row["estimate"]) == (bob.user.id, kept, False, 0)
    assert row["unit"] == str(bob.user.id)
    assert ledger_row(first.id)["cost"] > 0


@pytest.mark.parametrize("body", [{"temperature": 0.3}, {"n": 2}, {"messages": [{"role": "user", "content": "Hi"}]}, {"stream": True}])
async def test_another_question_is_another(alice, kept, upstream, body):
    await ask(call_of(alice.principal, kept))
    client = await ask(call_of(alice.principal, kept, **body))
    assert upstream.stats.requests == 2
    assert client.headers["x-menhir-cache"] == "miss"


async def test_nothing_is_shared_between_tenants(alice, mallory, routes, kept, upstream):
    theirs = type(routes)(mallory.tenant, upstream.base_url)
    await theirs.set(await theirs.to("gpt-4o-mini", name=kept, tariff="openai"), cache_seconds=3600)
    await ask(call_of(alice.principal, kept))
    client = await ask(call_of(mallory.principal, kept))
    assert (upstream.stats.requests, client.headers["x-menhir-cache"]) == (2, "miss")
    await exact.shelf.written()
    forget()
    assert (await ask(call_of(mallory.principal, kept))).headers["x-menhir-cache"] == "hit"
    assert upstream.stats.requests == 2


async def test_nothing_is_shared_between_versions_of_a_prompt(alice, kept, upstream):
    from menhir.postgres.ids import uuid7

    calls = [call_of(alice.principal, kept) for _ in range(3)]
    calls[1].prompt_version_id, calls[1].prompt_version = uuid7(), "support@2"
    calls[2].prompt_version_id, calls[2].prompt_version = calls[1].prompt_version_id, "support@2"
    clients = [await ask(call) for call in calls]
    assert [client.headers["x-menhir-cache"] for client in clients] == ["miss", "miss", "hit"]
    assert clients[2].headers["x-menhir-prompt-version"] == "support@2"


async def test_a_route_that_keeps_nothing_keeps_nothing(alice, routes, upstream):
    name = await routes.to("fake")
    clients = [await ask(call_of(alice.principal, name)) for _ in range(2)]
    assert upstream.stats.requests == 2
    assert all("x-menhir-cache" not in client.headers for client in clients)


async def test_a_route_that_leads_elsewhere_starts_anew(alice, routes, kept, upstream):
    from asgiref.sync import sync_to_async

    from apps.gateway.models import Route
    from menhir.tenancy.transaction import tenant_transaction

    def lead() -> None:
        with tenant_transaction(alice.tenant):
            route = Route.objects.within(alice.tenant).get(name=kept)
            route.lead_to((route.targets.get().provider, "gpt-4o"))

    await ask(call_of(alice.principal, kept))
    await sync_to_async(lead)()
    assert (await ask(call_of(alice.principal, kept))).headers["x-menhir-cache"] == "miss"
    assert upstream.stats.requests == 2


@pytest.mark.parametrize("away", [False, True])
async def test_a_stream_is_replayed_as_a_stream(alice, routes, upstream, away):
    name = await routes.set(await routes.to(fake(chunks=12)), cache_seconds=60)
    first = await ask(call_of(alice.principal, name, stream=True))
    if away:
        await exact.shelf.written()
        forget()
    again = await ask(call_of(alice.principal, name, stream=True))
    counted = await ask(call_of(alice.principal, name, stream=True, stream_options=USAGE))
    assert upstream.stats.requests == 1
    assert again.headers["content-type"].startswith("text/event-stream")
    assert again.headers["x-menhir-cache"] == "hit"
    assert again.events == first.events
    assert len({event["id"] for event in again.events[:-1]}) == 1
    assert counted.events[:-2] == first.events[:-1]
    assert (counted.events[-2]["usage"]["completion_tokens"], counted.events[-1]) == (12, "[DONE]")
    assert not any(event != "[DONE]" and event.get("usage") for event in again.events)


async def test_whoever_asks_for_usage_first_is_told_it_too(alice, routes):
    name = await routes.set(await routes.to(fake(chunks=3)), cache_seconds=60)
    first = await ask(call_of(alice.principal, name, stream=True, stream_options=USAGE))
    again = await ask(call_of(alice.principal, name, stream=True))
    assert first.events[-2]["usage"]["completion_tokens"] == 3
    assert again.events == [*first.events[:-2], "[DONE]"]


async def test_each_gets_his_own_preface(alice, routes, upstream):
    name = await routes.set(await routes.to("fake"), cache_seconds=60)
    for stream in (False, True):
        for number in range(2):
            call = call_of(alice.principal, name, stream=stream)
            call.preface = {"passages": [number]}
            client = await ask(call)
            assert (client.events[0] if stream else client.json)["menhir"] == {"passages": [number]}
    assert upstream.stats.requests == 2


async def test_another_process_finds_it_in_the_table(alice, kept, upstream):
    first = await ask(call_of(alice.principal, kept))
    await exact.shelf.written()
    forget()
    again = await ask(call_of(alice.principal, kept))
    assert (again.body, again.headers["x-menhir-cache"], upstream.stats.requests) == (first.body, "hit", 1)


async def test_no_cache_asks_again_and_keeps(alice, routes, kept, upstream):
    await ask(call_of(alice.principal, kept))
    call = call_of(alice.principal, kept)
    call.cache_control = b"No-Cache"
    assert (await ask(call)).headers["x-menhir-cache"] == "miss"
    assert upstream.stats.requests == 2
    assert (await ask(call_of(alice.principal, kept))).headers["x-menhir-cache"] == "hit"


async def test_no_store_neither_reads_nor_keeps(alice, kept, upstream):
    for _ in range(2):
        call = call_of(alice.principal, kept)
        call.cache_control = b"max-age=0, no-store"
        assert "x-menhir-cache" not in (await ask(call)).headers
    assert (await ask(call_of(alice.principal, kept))).headers["x-menhir-cache"] == "miss"
    assert upstream.stats.requests == 3


@pytest.mark.parametrize("orders", [{"cut": 3}, {"error": 3}, {"malformed": 3}])
async def test_a_broken_stream_is_not_kept(alice, routes, upstream, orders):
    name = await routes.set(await routes.to(fake(chunks=5, **orders)), cache_seconds=60)
    for _ in range(2):
        client = await ask(call_of(alice.principal, name, stream=True))
        assert client.events[-1]["error"]
    assert upstream.stats.requests == 2


async def test_a_refusal_is_not_kept(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(status=400)), cache_seconds=60)
    for _ in range(2):
        with pytest.raises(UpstreamRefused):
            await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == 2


async def test_an_old_answer_is_asked_anew_and_serves_while_everything_is_down(alice, routes, upstream, superuser):
    name = await routes.set(await routes.to(fake(status=500)), cache_seconds=60, stale_seconds=60)
    answering = await routes.to("fake", name="answering")
    await routes.set(answering, cache_seconds=60)
    with pytest.raises(UpstreamDown):
        await ask(call_of(alice.principal, name))
    # What the route had answered 90 seconds ago, while it still did.
    from apps.gateway import routing
    from apps.gateway.cache.key import key_of

    call = call_of(alice.principal, name)
    route = await routing.resolve(alice.tenant.id, name)
    exact.keep(
        call, route, key_of(call, route), Kept(stream=False, body=b'{"old": true}', usage=b"", provider="p", created=time.time() - 90)
    )
    await exact.shelf.written()
    client = await ask(call)
    assert client.json == {"old": True}
    assert (client.headers["x-menhir-cache"], client.headers["x-menhir-cost"], client.headers["age"]) == ("stale", "0", "90")
    assert client.headers["warning"].startswith("110")
    assert (ledger_row(call.id)["outcome"], ledger_row(call.id)["error_code"]) == ("failed", "upstream_down")
    forget()
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-cache"] == "stale"
    await routes.set(name, stale_seconds=20)
    with pytest.raises(UpstreamDown):
        await ask(call_of(alice.principal, name))


def test_memory_is_bounded():
    one = Kept(stream=False, body=b"x" * 100, usage=b"", provider="p", created=time.time())
    memory = exact.Memory(limit_bytes=3 * one.size)
    for key in (b"a", b"b", b"c"):
        memory.put(key, one)
    assert memory.find(b"a", seconds=9)
    memory.put(b"d", one)
    assert [memory.find(key, seconds=9) is not None for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    memory.put(b"d", one)
    assert memory.bytes == 3 * one.size
    assert memory.find(b"a", seconds=-1) is None


async def test_what_is_too_old_to_be_wanted_is_evicted(alice, kept, superuser):
    from apps.gateway.cache import upkeep

    await ask(call_of(alice.principal, kept))
    await exact.shelf.written()
    with psycopg.connect(superuser, autocommit=True) as connection:
        mine = "FROM gateway_cached_answer WHERE tenant_id = %s"
        assert connection.execute(f"SELECT expires_at - created_at > '59 minutes' {mine}", [alice.tenant.id]).fetchone() == (True,)
        await upkeep.evict()
        assert connection.execute(f"SELECT count(*) {mine}", [alice.tenant.id]).fetchone() == (1,)
        connection.execute(
            "UPDATE gateway_cached_answer SET expires_at = now() - interval '1 second' WHERE tenant_id = %s", [alice.tenant.id]
        )
        await upkeep.evict()
        assert connection.execute(f"SELECT count(*) {mine}", [alice.tenant.id]).fetchone() == (0,)


# Single flight.


async def test_an_answer_beyond_the_bound_is_passed_on_and_not_kept(alice, routes, upstream, monkeypatch):
    from apps.gateway.cache import recording

    monkeypatch.setattr(recording, "KEPT_BYTES", 500)
    monkeypatch.setattr(recording.Recording.__init__, "__kwdefaults__", {"most_bytes": 500})
    name = await routes.set(await routes.to(fake(chunks=40)), cache_seconds=60)
    for _ in range(2):
        client = await ask(call_of(alice.principal, name, stream=True))
        assert (len(client.events), client.events[-1]) == (42, "[DONE]")
    assert upstream.stats.requests == 2
