"""Answers that are given again: to whom, for how long, in which form, and what the ledger says of them."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import psycopg
import pytest

from apps.gateway import afterwards, corridor
from apps.gateway.cache import exact, flight
from apps.gateway.cache.recording import Kept
from apps.gateway.errors import UpstreamDown, UpstreamRefused
from menhir.metering.ledger import ledger

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

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


async def test_identical_calls_in_flight_are_one(alice, bob, routes, upstream):
    name = await routes.set(await routes.to(fake(first_ms=150)), cache_seconds=60)
    calls = [call_of(who.principal, name) for who in (alice, bob, alice)]
    clients = await asyncio.gather(*map(ask, calls))
    assert upstream.stats.requests == 1
    assert {client.json["choices"][0]["message"]["content"].strip() for client in clients} == {TEXT}
    assert [client.headers["x-menhir-cache"] for client in clients] == ["miss", "hit", "hit"]
    await ledger.noted()
    assert [ledger_row(call.id)["provider"] for call in calls] == [f"{name}-0", "cache", "cache"]


async def test_a_late_joiner_of_a_stream_gets_what_was_said_and_follows(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(chunks=8, gap_ms=40)), cache_seconds=60)
    leader, joiner = Client(), Client()
    third = asyncio.Event()
    leader.on_part = lambda client: third.set() if len(client.parts) == 3 else None
    first = asyncio.create_task(run(call_of(alice.principal, name, stream=True), leader))
    await third.wait()
    await run(call_of(alice.principal, name, stream=True, stream_options=USAGE), joiner)
    await first
    assert upstream.stats.requests == 1
    assert joiner.text == leader.text
    assert joiner.events[-2]["usage"]["completion_tokens"] == 8
    assert "usage" not in leader.events[-2] or not leader.events[-2]["usage"]
    assert len(joiner.parts) > 3, "it followed the stream as it came"


async def test_the_first_to_ask_may_leave_without_taking_the_others_along(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(chunks=8, gap_ms=50)), cache_seconds=60)
    leader, joiner = Client(), Client()
    joined = asyncio.Event()
    joiner.on_part = lambda _client: joined.set()
    began = asyncio.Event()
    leader.on_part = lambda _client: began.set()
    leading = call_of(alice.principal, name, stream=True)
    first = asyncio.create_task(run(leading, leader))
    await began.wait()
    second = asyncio.create_task(run(call_of(alice.principal, name, stream=True), joiner))
    await joined.wait()
    leader.gone.set()
    await first
    assert not leader.ended
    await second
    assert joiner.ended
    assert joiner.events[-1] == "[DONE]"
    assert upstream.stats.cancelled == []
    assert ledger_row(leading.id)["outcome"] == "completed"


@pytest.mark.parametrize(
    ("orders", "leaves", "told"),
    [
        ({"chunks": 8, "gap_ms": 40}, False, ("completed", 200, None)),
        ({"chunks": 8, "gap_ms": 40, "error": 6}, False, ("failed", 200, "upstream_down")),
        ({"chunks": 8, "gap_ms": 40, "cut": 6}, False, ("failed", 200, "upstream_cut")),
        ({"chunks": 100, "gap_ms": 40}, True, ("cancelled", 499, "client_hung_up")),
    ],
    ids=["whole", "error", "cut", "hang-up"],
)
async def test_the_ledger_says_of_one_who_joined_how_it_went_for_him(alice, routes, orders, leaves, told):
    name = await routes.set(await routes.to(fake(**orders)), cache_seconds=60)
    leader, joiner = Client(), Client()
    began = asyncio.Event()
    leader.on_part = lambda _client: began.set()
    leading = call_of(alice.principal, name, stream=True)
    first = asyncio.create_task(run(leading, leader))
    await began.wait()
    if leaves:
        joiner.on_part = lambda client: client.gone.set()
    call = call_of(alice.principal, name, stream=True)
    await run(call, joiner)
    assert joiner.headers["x-menhir-cache"] == "hit"
    leader.gone.set()
    await first
    await ledger.noted()
    await afterwards.done(within_seconds=5)
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["error_code"]) == told
    if not leaves:
        assert ledger_row(leading.id)["error_code"] == row["error_code"]
    assert (row["provider"], row["cost"], row["attempts"], call.completed) == ("cache", 0, 0, told[0] == "completed")


async def test_the_last_to_leave_takes_the_upstream_with_him(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(chunks=100, gap_ms=50)), cache_seconds=60)
    clients = [Client(), Client()]
    seen = [asyncio.Event(), asyncio.Event()]
    for client, event in zip(clients, seen, strict=True):
        client.on_part = lambda _client, event=event: event.set()
    calls = [call_of(alice.principal, name, stream=True) for _ in clients]
    tasks = [asyncio.create_task(run(call, client)) for call, client in zip(calls, clients, strict=True)]
    for event in seen:
        await event.wait()
    for client in clients:
        client.gone.set()
    await asyncio.gather(*tasks)
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1, seconds=2)
    await flight.landed(within_seconds=2)
    assert ledger_row(calls[0].id)["outcome"] == "cancelled"
    assert (await ask(call_of(alice.principal, await routes.to("fake")))).status == 200


async def test_one_who_has_left_before_the_call_begins_leaves_nobody_generating(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(chunks=20, gap_ms=20)), cache_seconds=60)
    client = Client()
    client.gone.set()
    await run(call_of(alice.principal, name, stream=True), client)
    await flight.landed(within_seconds=10)
    assert upstream.stats.requests == len(upstream.stats.cancelled), "whoever was asked was hung up on"


async def test_a_failure_that_is_the_same_for_all_is_told_to_all(alice, routes, upstream):
    name = await routes.set(await routes.to(fake(status=400, first_ms=0)), cache_seconds=60)
    results = await asyncio.gather(*(ask(call_of(alice.principal, name)) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [UpstreamRefused] * 3
    assert upstream.stats.requests == 1


async def test_calls_of_a_route_that_keeps_nothing_stay_apart(alice, routes, upstream):
    name = await routes.to(fake(first_ms=50))
    await asyncio.gather(*(ask(call_of(alice.principal, name)) for _ in range(3)))
    assert upstream.stats.requests == 3


async def test_an_answer_beyond_the_bound_is_passed_on_and_not_kept(alice, routes, upstream, monkeypatch):
    from apps.gateway.cache import recording

    monkeypatch.setattr(recording, "KEPT_BYTES", 500)
    monkeypatch.setattr(recording.Recording.__init__, "__kwdefaults__", {"most_bytes": 500})
    name = await routes.set(await routes.to(fake(chunks=40)), cache_seconds=60)
    for _ in range(2):
        client = await ask(call_of(alice.principal, name, stream=True))
        assert (len(client.events), client.events[-1]) == (42, "[DONE]")
    assert upstream.stats.requests == 2


async def run(call, client) -> None:
    from apps.gateway import corridor

    await corridor.run(call, client, client.gone)


async def test_one_who_does_not_read_is_let_go_and_holds_up_nobody(alice, routes, monkeypatch):
    monkeypatch.setattr(flight, "UNREAD_SECONDS", 0.3)
    name = await routes.set(await routes.to(fake(big=256 * 1024, chunks=200)), cache_seconds=60)

    class Stuck(Client):
        async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
            await asyncio.Event().wait()

    stuck, reading = Stuck(), Client()
    async with asyncio.timeout(20):
        await asyncio.gather(*(corridor.run(call_of(alice.principal, name, stream=True), each, each.gone) for each in (stuck, reading)))
    assert reading.events[-1] == "[DONE]"
    assert not stuck.ended
