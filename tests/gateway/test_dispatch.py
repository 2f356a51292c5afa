"""Who is asked, in which order, how often, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from apps.gateway import corridor, health, routing
from apps.gateway.errors import (
    AnswerTimeout,
    ContentFiltered,
    ContextTooLong,
    FirstByteTimeout,
    TotalTimeout,
    UpstreamBusy,
    UpstreamDown,
    UpstreamRefused,
)
from menhir.errors import status_of

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")


async def breaker_of(tenant, name, number=0):
    route = await routing.resolve(tenant.id, name)
    return route.targets[number].health.breaker


async def test_weights_share_calls_among_equals_and_zero_is_a_last_resort(alice, routes):
    name = await routes.to(
        "fake?chunks=1", "fake?chunks=2", fake(chunks=3), name="shared", policy={"strategy": "weighted"}, weights=(3, 1, 0)
    )
    asked = Counter([(await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"] for _ in range(200)])
    assert set(asked) == {"shared-0", "shared-1"}
    # Three quarters are 150, and five standard deviations 30.
    assert 120 < asked["shared-0"] < 180


async def test_the_last_resort_is_asked_when_the_others_are_down(alice, routes):
    policy = {"strategy": "weighted"}
    name = await routes.to(fake(status=500), fake(status=500, chunks=1), "fake", policy=policy, weights=(3, 1, 0))
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"].endswith("-2")


async def test_the_quickest_is_asked_once_both_are_known(alice, routes):
    name = await routes.to(fake(first_ms=150), "fake", policy={"strategy": "least_latency"})
    asked = [(await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"][-2:] for _ in range(6)]
    assert asked == ["-0", "-1", "-1", "-1", "-1", "-1"]


async def test_the_cheapest_is_asked_first(alice, routes):
    name = await routes.to("gpt-4o", "gpt-4o-mini", tariff="openai", policy={"strategy": "least_cost"})
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"].endswith("-1")


async def test_backoff_grows_and_ends_with_the_routes_retries(alice, routes, upstream):
    began = time.monotonic()
    call = call_of(alice.principal, await routes.to(fake(busy=3), policy={"retries": 3}))
    assert (await ask(call)).status == 200
    assert ledger_row(call.id)["attempts"] == upstream.stats.requests == 4
    assert 0.125 + 0.25 + 0.5 <= time.monotonic() - began < 4


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (2, 3)])
async def test_a_busy_target_is_asked_as_often_as_the_route_says(alice, routes, upstream, retries, attempts):
    with pytest.raises(UpstreamBusy):
        await ask(call_of(alice.principal, await routes.to(fake(status=429), policy={"retries": retries})))
    assert upstream.stats.requests == attempts


async def test_the_clients_retries_and_ours_do_not_multiply(alice, routes, upstream):
    name = await routes.to(fake(status=429), fake(status=503), policy={"retries": 5})
    call = call_of(alice.principal, name)
    call.client_retries = 1
    with pytest.raises(UpstreamBusy):
        await ask(call)
    assert upstream.stats.requests == ledger_row(call.id)["attempts"] == 2


async def test_retry_after_is_honoured(alice, routes):
    began = time.monotonic()
    assert (await ask(call_of(alice.principal, await routes.to(fake(busy=1, retry_after="0.8"))))).status == 200
    assert time.monotonic() - began >= 0.8


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "error"),
    [
        ({"status": 400, "code": "context_length_exceeded"}, ContextTooLong),
        ({"status": 400, "code": "content_filter"}, ContentFiltered),
        ({"status": 413}, ContextTooLong),
    ],
)
async def test_what_one_model_cannot_take_goes_to_the_next(alice, routes, orders, error, stream):
    client = await ask(call_of(alice.principal, await routes.to(fake(**orders), "fake"), stream=stream))
    assert client.headers["x-menhir-attempts"] == "2"
    call = call_of(alice.principal, await routes.to(fake(**orders)), stream=stream)
    with pytest.raises(error) as refused:
        await ask(call)
    assert status_of(refused.value) == 400
    assert ledger_row(call.id)["error_code"] == error.code


async def test_what_is_the_clients_fault_stops_at_once(alice, routes, upstream):
    name = await routes.to(fake(status=400, code="unknown_parameter"), "fake")
    with pytest.raises(UpstreamRefused):
        await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == 1


@pytest.mark.parametrize("code", ["overheated", "rate_limit_exceeded", "context_length_exceeded"])
async def test_an_error_inside_a_stream_goes_to_the_next_as_long_as_nothing_was_said(alice, routes, code):
    name = await routes.to(fake(role=3, error=0, code=code), "fake", policy={"retries": 0})
    call = call_of(alice.principal, name, stream=True)
    client = await ask(call)
    assert client.text.strip() == TEXT
    assert b"overheated" not in client.body
    assert (client.events[-1], ledger_row(call.id)["attempts"]) == ("[DONE]", 2)


async def test_a_stream_that_only_says_who_speaks_is_replaced_when_it_breaks_off(alice, routes):
    client = await ask(call_of(alice.principal, await routes.to(fake(role=2, cut=2), "fake"), stream=True))
    assert client.text.strip() == TEXT
    assert sum(event["choices"][0]["delta"].get("role") == "assistant" for event in client.events[:-1]) == 1


async def test_what_was_held_back_arrives_with_the_first_word(alice, routes):
    client = await ask(call_of(alice.principal, await routes.to(fake(role=2)), stream=True))
    assert client.text.strip() == TEXT
    assert [event["choices"][0]["delta"]["content"] for event in client.events[:2]] == ["", ""]


@pytest.mark.parametrize(("stream", "error"), [(True, FirstByteTimeout), (False, AnswerTimeout)])
async def test_silence_has_its_own_error(alice, routes, stream, error):
    name = await routes.to(fake(first_ms=20_000), first_byte_timeout_seconds=0.2, answer_timeout_seconds=0.2)
    call = call_of(alice.principal, name, stream=stream)
    with pytest.raises(error) as late:
        await ask(call)
    assert status_of(late.value) == 504
    row = ledger_row(call.id)
    assert (row["status"], row["error_code"]) == (504, error.code)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_route_has_so_long_for_everything(alice, routes, upstream, stream):
    name = await routes.to(
        fake(first_ms=20_000), fake(first_ms=20_001), policy={"total_timeout_seconds": 0.5}, first_byte_timeout_seconds=30
    )
    began = time.monotonic()
    call = call_of(alice.principal, name, stream=stream)
    with pytest.raises(TotalTimeout):
        await ask(call)
    assert time.monotonic() - began < 1.5
    assert upstream.stats.requests == 1
    assert ledger_row(call.id)["error_code"] == "total_timeout"


async def test_the_time_for_everything_ends_a_stream_that_talks_on(alice, routes, upstream):
    name = await routes.to(fake(gap_ms=50, chunks=400), policy={"total_timeout_seconds": 0.6})
    call = call_of(alice.principal, name, stream=True)
    client = await ask(call)
    assert client.events[-1]["error"]["code"] == ledger_row(call.id)["error_code"] == "total_timeout"
    assert ledger_row(call.id)["output_tokens"] > 0
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)
    assert (await breaker_of(alice.tenant, name)).calm


async def test_who_fails_time_and_again_is_passed_over(alice, routes, upstream):
    name = await routes.to(fake(status=500), "fake")
    for _ in range(5):
        assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "2"
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "1"
    assert upstream.stats.refused == 5
    assert [seen.breaker for seen in health.breakers() if seen.tenant_id == alice.tenant.id] == ["open"]


async def test_a_target_that_is_alone_is_asked_for_all_that(alice, routes, upstream):
    name = await routes.to(fake(status=500))
    for _ in range(7):
        with pytest.raises(UpstreamDown):
            await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == 7


async def test_when_all_are_open_the_one_that_failed_longest_ago_is_asked(alice, routes, upstream):
    name = await routes.to(fake(status=500), fake(status=502))
    for _ in range(5):
        with pytest.raises(UpstreamDown):
            await ask(call_of(alice.principal, name))
    before = upstream.stats.requests
    with pytest.raises(UpstreamDown):
        await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == before + 1
    assert upstream.stats.bodies[-1]["model"] == fake(status=500)


async def test_one_call_looks_whether_it_has_recovered_and_the_others_do_not_wait(alice, routes):
    name = await routes.to(fake(first_ms=300), "fake")
    breaker = await breaker_of(alice.tenant, name)
    for _ in range(5):
        breaker.failed(time.monotonic() - 10)
    asked = await asyncio.gather(*(ask(call_of(alice.principal, name)) for _ in range(4)))
    assert sorted(client.headers["x-menhir-upstream"][-1] for client in asked) == ["0", "1", "1", "1"]
    assert breaker.state(time.monotonic()) == "closed"


async def test_one_that_asks_to_be_left_alone_is_left_alone_by_the_next_call_too(alice, routes, upstream):
    name = await routes.to(fake(status=429, retry_after="30"), "fake")
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "2"
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "1"
    assert upstream.stats.refused == 1


async def test_streams_that_are_cut_open_the_breaker_too(alice, routes):
    name = await routes.to(fake(cut=3))
    for _ in range(5):
        await ask(call_of(alice.principal, name, stream=True))
    assert not (await breaker_of(alice.tenant, name)).calm


async def test_a_bad_credential_of_one_tenant_is_nobody_elses_trouble(alice, mallory, routes):
    name = await routes.to(fake(status=401), "fake")
    routes.tenant = mallory.tenant
    await routes.to(fake(status=401), "fake", name=name)
    for _ in range(5):
        await ask(call_of(mallory.principal, name))
    assert (await ask(call_of(mallory.principal, name))).headers["x-menhir-attempts"] == "1"
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "2"


async def test_what_is_refused_for_what_it_asks_opens_no_breaker(alice, routes):
    name = await routes.to(fake(status=400))
    for _ in range(6):
        with pytest.raises(UpstreamRefused):
            await ask(call_of(alice.principal, name))
    assert (await breaker_of(alice.tenant, name)).calm


async def test_a_change_of_routes_does_not_forget_who_is_down(alice, routes):
    name = await routes.to(fake(status=500), "fake")
    for _ in range(5):
        await ask(call_of(alice.principal, name))
    await routes.to("fake", name="another")  # evicts everything of the tenant
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-attempts"] == "1"


async def test_a_target_that_was_given_no_time_is_not_blamed_for_it(alice, routes, upstream):
    name = await routes.to(fake(first_ms=1_500, cut=0), fake(first_ms=20_000), policy={"total_timeout_seconds": 2.4})
    with pytest.raises(TotalTimeout):
        await ask(call_of(alice.principal, name, stream=True))
    assert upstream.stats.requests == 2
    assert [(await breaker_of(alice.tenant, name, number)).calm for number in (0, 1)] == [False, True]
    alone = await routes.to(fake(first_ms=20_001), policy={"total_timeout_seconds": 0.2})
    with pytest.raises(TotalTimeout):
        await ask(call_of(alice.principal, alone))
    assert not (await breaker_of(alice.tenant, alone)).calm, "it had all the time there was"


async def test_only_the_call_that_went_to_see_makes_room_for_the_next(alice, routes, upstream):
    name = await routes.to(fake(first_ms=20_000), "fake")
    breaker = await breaker_of(alice.tenant, name)
    old, probe = Client(), Client()
    tasks = []
    for number, client in enumerate((old, probe), 1):
        tasks.append(asyncio.create_task(corridor.run(call_of(alice.principal, name), client, client.gone)))
        assert await asyncio.to_thread(upstream.wait, lambda stats, number=number: stats.requests == number)
        if client is old:
            for _ in range(5):
                breaker.failed(time.monotonic() - 10)
    old.gone.set()
    await tasks[0]
    async with asyncio.timeout(5):
        assert (await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"] == f"{name}-1"
    probe.gone.set()
    await tasks[1]
    assert not breaker.shuns(time.monotonic()), "the next may go and see"
