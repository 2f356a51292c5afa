"""Identical calls at the same time are one call of an upstream."""

from __future__ import annotations

import asyncio

import pytest

from apps.gateway import afterwards, corridor
from apps.gateway.cache import flight
from apps.gateway.errors import UpstreamRefused
from menhir.metering.ledger import ledger

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")


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
    await run(call_of(alice.principal, name, stream=True, stream_options={"include_usage": True}), joiner)
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
