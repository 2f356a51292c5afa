"""Limits as a call meets them: headers, refusals, and what is left held however it ends."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from apps.gateway import afterwards, corridor, routing
from apps.gateway.errors import UnboundedCall, UpstreamError
from apps.gateway.holding import most_cost, most_input_tokens
from apps.gateway.media import MEDIUM_TOKENS
from apps.gateway.wire import error_body
from menhir.errors import status_of
from menhir.metering import prices
from menhir.metering.entries import Usage
from menhir.metering.errors import QuotaExceeded, RateLimitExceeded
from menhir.metering.limits import limits

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

LIMITS = {"max_tokens", "max_completion_tokens"}
WORDS = len(TEXT.split())
pytestmark = pytest.mark.usefixtures("gateway")


@pytest.fixture
def meter(superuser):
    """What is spent and held of a limit, once this process has told everything."""

    async def look(limit):
        await limits.stop()
        with psycopg.connect(superuser, row_factory=namedtuple_row) as connection:
            row = connection.execute("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", [limit.id]).fetchone()
        await limits.start()
        return tuple(row) if row is not None else (0, 0)

    return look


async def test_a_caller_is_told_what_is_left(alice, routes, limit):
    await limit(metric="requests", amount=3)
    await limit(metric="tokens", amount=100_000)
    name = await routes.to("fake")
    first = await ask(call_of(alice.principal, name))
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("3", "2")
    assert first.headers["x-ratelimit-limit-tokens"] == "100000"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    streamed = await ask(call_of(alice.principal, name, stream=True))
    assert streamed.headers["x-ratelimit-remaining-requests"] == "1"


async def test_who_has_no_limits_is_told_of_none(mallory, alice, routes, limit):
    await limit("route", "another", metric="requests", amount=1)
    client = await ask(call_of(alice.principal, await routes.to("fake")))
    assert not [name for name in client.headers if name.startswith("x-ratelimit")]


async def test_a_refused_call_reaches_no_upstream_and_leaves_no_row(alice, routes, upstream, limit):
    await limit(metric="requests", amount=1)
    name = await routes.to("fake")
    await ask(call_of(alice.principal, name))
    call = call_of(alice.principal, name)
    with pytest.raises(RateLimitExceeded) as refused:
        await ask(call)
    headers = dict(refused.value.headers)
    assert 0 < int(headers[b"retry-after"]) <= 60
    assert 0 < int(headers[b"retry-after-ms"]) <= 60_000
    assert headers[b"x-ratelimit-remaining-requests"] == b"0"
    assert error_body(refused.value)["error"]["code"] == "rate_limit_exceeded"
    assert upstream.stats.requests == 1
    assert ledger_row(call.id) == {}


async def test_a_spent_budget_is_said_in_a_way_that_clients_do_not_retry(alice, routes, limit):
    await limit(metric="money", period="month", amount="0.000001")
    with pytest.raises(QuotaExceeded) as refused:
        await ask(call_of(alice.principal, await routes.to("gpt-4o-mini", tariff="openai"), max_tokens=1_000))
    assert dict(refused.value.headers)[b"x-should-retry"] == b"false"
    assert error_body(refused.value)["error"] == {
        **error_body(refused.value)["error"],
        "type": "insufficient_quota",
        "code": "insufficient_quota",
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_money_and_tokens_come_to_what_the_ledger_says(alice, routes, limit, meter, stream):
    tokens = await limit(metric="tokens", amount=100_000)
    money = await limit("user", metric="money", period="day", amount="1")
    name = await routes.to("gpt-4o-mini", tariff="openai")
    calls = [call_of(alice.principal, name, stream=stream, max_tokens=100) for _ in range(3)]
    for call in calls:
        await ask(call)
    rows = [ledger_row(call.id) for call in calls]
    assert {row["unit"] for row in rows} == {str(alice.user.id)}
    assert await meter(money) == (sum(row["cost"] for row in rows), 0)
    assert await meter(tokens) == (3 * (4 + WORDS), 0)


@pytest.mark.parametrize(
    ("orders", "patience"),
    [
        ({"status": 500}, {}),
        ({"status": 400}, {}),
        ({"malformed": 0}, {}),
        ({"cut": 1}, {}),
        ({"first_ms": 5_000}, {"answer_timeout_seconds": 0.2}),
    ],
)
async def test_an_error_gives_back_slots_and_tokens(alice, routes, limit, meter, orders, patience):
    slots = await limit(metric="parallel", amount=1)
    tokens = await limit(metric="tokens", amount=5_000)
    name = await routes.to(fake(**orders), **patience)
    for _ in range(3):
        call = call_of(alice.principal, name, max_tokens=3_000)
        with pytest.raises(UpstreamError):
            await ask(call)
    assert await meter(slots) == (0, 0)
    spent, held = await meter(tokens)
    assert held == 0
    assert spent < 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hang_up_gives_back_slots_and_bills_what_was_done(alice, routes, limit, meter, upstream, stream):
    slots = await limit(metric="parallel", amount=1)
    money = await limit(metric="money", period="day", amount="1")
    model = f"claude-3-haiku?chunks=200&gap_ms=20&first_ms={0 if stream else 5_000}"
    name = await routes.to(model, tariff="anthropic")
    cost = Decimal(0)
    for _ in range(2):
        client = Client()
        if stream:
            client.on_part = lambda client: client.gone.set() if len(client.parts) > 3 else None
        call = call_of(alice.principal, name, stream=stream, max_tokens=100)
        running = asyncio.create_task(corridor.run(call, client, client.gone))
        assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests > 0)
        if not stream:
            client.gone.set()
        await running
        upstream.reset()
        cost += ledger_row(call.id)["cost"]
    assert await meter(slots) == (0, 0)
    assert cost > 0
    assert await meter(money) == (cost, 0)


async def test_a_cancelled_call_gives_back_its_slot(alice, routes, limit, meter, upstream):
    slots = await limit(metric="parallel", amount=1)
    name = await routes.to(fake(first_ms=5_000))
    running = asyncio.create_task(ask(call_of(alice.principal, name)))
    assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await meter(slots) == (0, 0)


async def test_more_than_a_slot_at_once_is_refused_and_embeddings_count_alike(alice, routes, limit, upstream):
    await limit(metric="parallel", amount=1)
    slow, quick = await routes.to(fake(first_ms=5_000)), await routes.to("fake")
    running = asyncio.create_task(ask(call_of(alice.principal, slow)))
    assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 1)
    for call in (call_of(alice.principal, quick), call_of(alice.principal, quick, operation="embeddings", input="a")):
        with pytest.raises(RateLimitExceeded):
            await ask(call)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await ask(call_of(alice.principal, quick))).status == 200


async def test_a_call_without_an_end_gets_one_under_a_budget(alice, routes, limit, upstream):
    name = await routes.to("gpt-4o-mini", tariff="openai")
    await ask(call_of(alice.principal, name))
    assert not LIMITS & upstream.stats.bodies[-1].keys()
    await limit(metric="money", period="day", amount="1")
    await ask(call_of(alice.principal, name))
    assert said(upstream) == {"max_tokens": 4_096}
    await routes.set(name, max_output_tokens=77)
    await ask(call_of(alice.principal, name))
    assert said(upstream) == {"max_tokens": 77}
    await ask(call_of(alice.principal, name, max_tokens=5))
    assert said(upstream) == {"max_tokens": 5}


def said(upstream) -> dict[str, object]:
    """How the upstream was told how long its answer may be."""
    return {name: value for name, value in upstream.stats.bodies[-1].items() if name in LIMITS}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_tokens", value) for value in (100_000.0, "100000", True, 0, -1, [9])),
        *(("max_completion_tokens", value) for value in (5.0, -1)),
        *(("n", value) for value in (3.0, 0, 129, 10**9)),
        ("best_of", 500),
    ],
)
async def test_what_cannot_be_bounded_is_refused_under_a_limit(alice, routes, limit, upstream, meter, name, value):
    route = await routes.to("gpt-4o-mini", tariff="openai")
    money = await limit(metric="money", period="day", amount="1")
    with pytest.raises(UnboundedCall) as refused:
        await ask(call_of(alice.principal, route, **{name: value}))
    assert (status_of(refused.value), refused.value.param) == (400, name)
    assert upstream.stats.requests == 0
    assert await meter(money) == (0, 0)


async def test_of_two_limits_the_larger_is_held(alice, routes):
    route = await routing.resolve(alice.tenant.id, await routes.to("gpt-4o-mini", tariff="openai"))
    both = call_of(alice.principal, "m", max_completion_tokens=1, max_tokens=100_000)
    one = call_of(alice.principal, "m", max_tokens=100_000)
    assert most_cost(both, route, route.targets) >= most_cost(one, route, route.targets)


async def test_what_is_not_written_needs_no_bound(alice, routes, limit, upstream):
    name = await routes.to("gpt-4o-mini", tariff="openai")
    await limit(metric="money", period="day", amount="1")
    await ask(call_of(alice.principal, name, operation="embeddings", input="a stone"))
    assert said(upstream) == {}
    call = call_of(alice.principal, name, operation="completions", prompt=["a", "b"], n=2)
    most_cost(call, await routing.resolve(alice.tenant.id, name), (await routing.resolve(alice.tenant.id, name)).targets)
    assert (call.body["max_tokens"], call.raw) == (16, None)


async def test_twenty_at_once_never_pass_a_budget(alice, routes, limit, meter):
    money = await limit(metric="money", period="day", amount="0.0002")
    name = await routes.to("gpt-4o-mini", tariff="openai")
    calls = [call_of(alice.principal, name, max_tokens=100) for _ in range(60)]
    results = await asyncio.gather(*(ask(call) for call in calls), return_exceptions=True)
    passed = [call for call, result in zip(calls, results, strict=True) if isinstance(result, Client)]
    assert all(isinstance(result, Client | QuotaExceeded) for result in results)
    assert 0 < len(passed) < 60
    cost = sum(ledger_row(call.id)["cost"] for call in passed)
    assert cost <= Decimal("0.0002")
    assert await meter(money) == (cost, 0)


async def test_the_bound_is_a_bound(alice, routes):
    route = await routing.resolve(alice.tenant.id, await routes.to("gpt-4o-mini", tariff="openai"))
    text = "如何创建密钥 \u00e9\u00e9 " * 20
    call = call_of(alice.principal, "m", messages=[{"role": "user", "content": text}], max_tokens=50, n=3)
    assert most_input_tokens(call) >= len(text.encode())
    bound = most_cost(call, route, route.targets)
    usage = Usage(input_tokens=len(text.encode()), output_tokens=150)
    assert bound >= prices.cost(provider="openai", model="gpt-4o-mini", usage=usage, at=call.opened_at)
    assert call.raw is not None
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    call = call_of(alice.principal, "m", messages=[{"role": "user", "content": [picture]}], max_tokens=50)
    assert MEDIUM_TOKENS <= most_input_tokens(call) < MEDIUM_TOKENS + 1_000
    call.raw = call.raw.replace(b"image_url", b"im\\u0061ge_url")
    assert most_input_tokens(call) >= MEDIUM_TOKENS, "a picture in disguise is one, too"


async def test_the_bound_covers_sound_where_there_may_be_some(alice, routes):
    route = await routing.resolve(alice.tenant.id, await routes.to("gpt-audio", tariff="openai"))
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 400, "format": "wav"}}
    asked = call_of(alice.principal, "m", messages=[{"role": "user", "content": [sound]}], max_tokens=50)
    spoken = call_of(alice.principal, "m", messages=[{"role": "user", "content": "hi"}], max_tokens=50, modalities=["text", "audio"])
    silent = call_of(alice.principal, "m", messages=[{"role": "user", "content": "hi"}], max_tokens=50)
    assert most_cost(asked, route, route.targets) >= (MEDIUM_TOKENS * Decimal(32) + 50 * Decimal(64)) / 1_000_000
    assert most_cost(spoken, route, route.targets) >= 50 * Decimal(64) / 1_000_000
    assert most_cost(silent, route, route.targets) < 50 * Decimal(64) / 1_000_000


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "file", "file": {"file_id": "file-abc"}}, 1_000_000, 1_001_000),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "HTTPS://example.com/a.pdf"}}, 1_000_000, 1_001_000),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 50_000, 51_000),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 1_200_000}}, 300_000, 310_000),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64," + "A" * 400_000}}, 400_000, 410_000),
        ({"type": "input_audio", "input_audio": {"data": "A" * 2_560_000, "format": "mp3"}}, 80_000, 81_000),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}, "text": "word " * 100_000}, 500_000, 560_000),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}}, 50_000, 51_000),
        ({"type": ["file"], "text": "a" * 100}, 100, 1_000),
    ],
    ids=[
        "a file by name",
        "a file by address",
        "a picture by address",
        "pdf",
        "text file",
        "sound",
        "text beside a picture",
        "a claude's picture",
        "no type",
    ],
)
async def test_a_large_medium_counts_by_its_size(alice, part, least, most):
    call = call_of(alice.principal, "m", messages=[{"role": "user", "content": [part]}])
    assert least <= most_input_tokens(call) <= most


async def test_a_tool_is_no_medium_whatever_it_says(alice):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "file", "description": "word " * 100_000}}}
    assert most_input_tokens(call_of(alice.principal, "m", tools=[tool])) > 500_000


async def test_every_leg_of_a_fan_out_and_every_shadow_is_paid_from_the_budget(alice, routes, limit, meter, superuser):
    from apps.gateway import afterwards

    money = await limit(metric="money", period="day", amount="1")
    slots = await limit(metric="parallel", amount=10)
    tokens = await limit(metric="tokens", amount=100_000)
    policy = {"strategy": "fan_out"}
    raced = await routes.to("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", tariff="openai", policy=policy)
    shown = await routes.to("gpt-4o-mini", tariff="openai", shadows={"gpt-4o": 100})
    for name in (raced, shown, raced):
        await ask(call_of(alice.principal, name, max_tokens=50))
    await afterwards.done(within_seconds=10)
    with psycopg.connect(superuser) as connection:
        cost, used, rows = connection.execute(
            "SELECT sum(cost), sum(input_tokens + output_tokens), count(*) FROM metering_settlement WHERE tenant_id = %s", [alice.tenant.id]
        ).fetchone()
    assert rows >= 4
    assert cost > 0
    assert await meter(money) == (cost, 0)
    assert await meter(tokens) == (used, 0)
    assert await meter(slots) == (0, 0)


@pytest.mark.parametrize(("times", "asked"), [(1, 1), (2, 2)])
async def test_the_next_target_is_asked_where_the_budget_allows_for_both(alice, routes, upstream, limit, meter, superuser, times, asked):
    name = await routes.to("claude-3-haiku?cut=0", "claude-3-haiku", tariff="anthropic")
    call = call_of(alice.principal, name, max_tokens=100)
    route = await routing.resolve(alice.tenant.id, name)
    money = await limit(metric="money", period="day", amount=times * most_cost(call, route, route.targets))
    if times == 1:
        with pytest.raises(UpstreamError):
            await ask(call)
    else:
        assert (await ask(call)).status == 200
    await afterwards.done(within_seconds=5)
    assert upstream.stats.requests == asked
    with psycopg.connect(superuser) as connection:
        (cost,) = connection.execute("SELECT sum(cost) FROM metering_settlement WHERE tenant_id = %s", [alice.tenant.id]).fetchone()
    assert await meter(money) == (cost, 0)
    assert cost > 0
