"""Every way in which an upstream of another wire can fail: what the client sees, and what the ledger says."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from gateway.conftest import Routes

from apps.gateway.errors import ContentFiltered, UpstreamBusy, UpstreamCut, UpstreamDown, UpstreamRefused, UpstreamUnauthorized
from menhir.errors import status_of

from peers.caller import ask, call_of, fake, ledger_row
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")
KINDS = ["anthropic", "gemini"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def to(kind: str, routes: Routes, upstream):
    """Makes a route to models of this kind."""
    url = {"gemini": upstream.gemini_url}.get(kind, upstream.base_url)
    return lambda *models, **more: routes.to(*models, kind=kind, base_url=url, **more)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_it_does_not_want_to_say_is_left_to_the_next(alice, to, kind, stream):
    reason = {"anthropic": "refusal", "gemini": "SAFETY"}[kind]
    call = call_of(alice.principal, await to(fake(empty=1, reason=reason), "fake"), stream=stream)
    client = await ask(call)
    assert (client.text if stream else client.json["choices"][0]["message"]["content"]).strip() == TEXT
    assert ledger_row(call.id)["attempts"] == 2
    alone = await ask(call_of(alice.principal, await to(fake(empty=1, reason=reason)), stream=stream))
    assert b'"content_filter"' in alone.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "error", "attempts"),
    [
        ({"status": 400}, UpstreamRefused, 1),
        ({"status": 401}, UpstreamUnauthorized, 1),
        ({"status": 404}, UpstreamDown, 1),
        ({"status": 429}, UpstreamBusy, 2),
        ({"status": 529}, UpstreamBusy, 2),
        ({"status": 500}, UpstreamDown, 1),
        ({"malformed": 0}, UpstreamDown, 1),
        ({"cut": 0}, UpstreamCut, 1),
    ],
)
async def test_before_anything_was_promised_the_client_gets_an_error(alice, to, upstream, orders, error, attempts, stream):
    call = call_of(alice.principal, await to(fake(**orders)), stream=stream)
    with pytest.raises(error) as caught:
        await ask(call)
    assert upstream.stats.requests == attempts
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["attempts"], row["error_code"]) == (
        "failed",
        status_of(caught.value),
        attempts,
        caught.value.code,
    )
    assert "status" not in orders or (row["input_tokens"], row["output_tokens"], row["cost"]) == (0, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("orders", [{"status": 500}, {"status": 401}, {"malformed": 0}, {"cut": 0}, {"error": 0}])
async def test_the_next_target_answers(alice, to, orders, stream):
    call = call_of(alice.principal, await to(fake(**orders), "fake"), stream=stream)
    client = await ask(call)
    text = client.text if stream else client.json["choices"][0]["message"]["content"]
    assert text.strip() == TEXT
    assert (ledger_row(call.id)["outcome"], ledger_row(call.id)["upstream_model"]) == ("completed", "fake")


async def test_what_a_filter_did_not_let_in_goes_to_the_next_target(alice, routes, upstream):
    name = await routes.to(fake(blocked="SAFETY"), "fake", kind="gemini", base_url=upstream.gemini_url)
    assert (await ask(call_of(alice.principal, name, stream=True))).text.strip() == TEXT
    with pytest.raises(ContentFiltered):
        await ask(call_of(alice.principal, await routes.to(fake(blocked="SAFETY"), kind="gemini", base_url=upstream.gemini_url)))


async def test_busy_is_tried_once_more_and_then_answers(alice, to):
    call = call_of(alice.principal, await to(fake(busy=1)))
    assert (await ask(call)).status == 200
    assert ledger_row(call.id)["attempts"] == 2


async def test_one_that_asks_for_long_patience_is_passed_over(alice, to, upstream):
    call = call_of(alice.principal, await to(fake(status=429, retry_after="30"), "fake"))
    assert (await ask(call)).status == 200
    assert upstream.stats.requests == 2


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("stream_orders", [{"cut": 6}, {"malformed": 4}, {"error": 4}, {"finish": 0, "done": 0}])
async def test_a_stream_that_breaks_says_so(alice, to, stream_orders, half):
    call = call_of(alice.principal, await to(fake(chunks=10, half=half, gap_ms=5, **stream_orders)), stream=True)
    client = await ask(call)
    assert (client.status, client.ended) == (200, True)
    assert client.text
    assert client.events[-1]["error"]["type"] == "upstream_error"
    assert "[DONE]" not in client.events
    row = ledger_row(call.id)
    assert (row["outcome"], row["usage_source"]) == ("failed", "estimate")
    assert row["output_tokens"] > 0


@pytest.mark.parametrize("orders", [{"split": 1}, {"split": 7}, {"crlf": 1}, {"comments": 3}])
async def test_a_stream_in_any_pieces_says_the_same(alice, to, orders):
    client = await ask(call_of(alice.principal, await to(fake(**orders)), stream=True))
    assert client.text.strip() == TEXT
    assert client.events[-1] == "[DONE]"


async def test_silence_before_the_first_byte_goes_to_the_next_target(alice, to, upstream):
    name = await to(fake(first_ms=30_000), "fake", first_byte_timeout_seconds=0.3, answer_timeout_seconds=0.3)
    client = await ask(call_of(alice.principal, name, stream=True))
    assert client.text.strip() == TEXT
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("usage", "source"), [("right", "upstream"), ("zero", "upstream"), ("none", "estimate"), ("wild", "estimate")])
async def test_usage_is_the_upstreams_word_or_else_an_estimate(alice, to, usage, source, stream):
    call = call_of(alice.principal, await to(fake(usage=usage)), stream=stream)
    await ask(call)
    row = ledger_row(call.id)
    assert (row["outcome"], row["usage_source"]) == ("completed", source)
    assert (row["output_tokens"] == 0) == (usage == "zero")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_cache_gave_and_took_is_priced_apart(alice, routes, stream):
    name = await routes.to("claude-sonnet-4-5?cached=1000&written=900", kind="anthropic", tariff="anthropic")
    call = call_of(alice.principal, name, stream=stream)
    await ask(call)
    row = ledger_row(call.id)
    plain = row["input_tokens"] - 1_900
    million = plain * 3 + 1_000 * Decimal("0.3") + 600 * Decimal("3.75") + 300 * 6 + row["output_tokens"] * 15
    assert row["cached_input_tokens"] == 1_000
    assert row["cost"] == million / 1_000_000
    assert row["priced"]


async def test_geminis_cache_is_priced_apart(alice, routes, upstream):
    name = await routes.to("gemini-2.5-pro?cached=2", kind="gemini", base_url=upstream.gemini_url, tariff="google")
    call = call_of(alice.principal, name)
    await ask(call)
    row = ledger_row(call.id)
    million = (row["input_tokens"] - 2) * Decimal("1.25") + 2 * Decimal("0.125") + row["output_tokens"] * 10
    assert (row["cached_input_tokens"], row["cost"]) == (2, million / 1_000_000)


async def test_a_route_limits_who_sets_no_limit(alice, to, upstream, kind):
    await ask(call_of(alice.principal, await to("fake", policy={"max_output_tokens": 77})))
    body = upstream.stats.bodies[-1]
    assert (body["max_tokens"] if kind == "anthropic" else body["generationConfig"]["maxOutputTokens"]) == 77
