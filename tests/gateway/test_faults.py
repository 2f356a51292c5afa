"""Every way in which an upstream can fail: what the client sees, and what the ledger says."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from asgiref.sync import sync_to_async

from apps.gateway import corridor, hangup
from apps.gateway.errors import (
    UpstreamBusy,
    UpstreamCut,
    UpstreamDown,
    UpstreamError,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from apps.gateway.models import Provider
from apps.gateway.wire import error_body
from menhir.errors import status_of
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")


@pytest.fixture
def dead_url() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1"


def nothing_was_used(row) -> bool:
    return (row["input_tokens"], row["output_tokens"], row["cost"]) == (0, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "error", "status", "attempts"),
    [
        ({"status": 400}, UpstreamRefused, 400, 1),
        ({"status": 401}, UpstreamUnauthorized, 503, 1),
        ({"status": 404}, UpstreamDown, 503, 1),
        ({"status": 429}, UpstreamLimited, 429, 2),
        ({"status": 503}, UpstreamBusy, 503, 2),
        ({"status": 500}, UpstreamDown, 503, 1),
        ({"malformed": 0}, UpstreamDown, 503, 1),
        ({"error": 0}, UpstreamDown, 503, 1),
        ({"cut": 0}, UpstreamCut, 503, 1),
    ],
)
async def test_before_anything_was_promised_the_client_gets_an_error(alice, routes, upstream, orders, error, status, attempts, stream):
    call = call_of(alice.principal, await routes.to(fake(**orders)), stream=stream)
    with pytest.raises(error) as caught:
        await ask(call)
    assert status_of(caught.value) == status
    told = error_body(caught.value)["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["type"] == "upstream_error"
    assert isinstance(told["code"], str)
    assert upstream.stats.requests == attempts
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["attempts"], row["error_code"]) == ("failed", status, attempts, caught.value.code)


async def test_what_the_upstream_says_of_the_request_is_passed_on_but_not_of_our_credential(alice, routes):
    with pytest.raises(UpstreamRefused, match="refused as ordered") as refused:
        await ask(call_of(alice.principal, await routes.to(fake(status=400))))
    assert refused.value.param == "messages"
    with pytest.raises(UpstreamUnauthorized) as unauthorized:
        await ask(call_of(alice.principal, await routes.to(fake(status=401))))
    assert "sk-" not in unauthorized.value.message


async def test_a_refused_call_used_nothing(alice, routes):
    for orders in ({"status": 400}, {"status": 500}, {"status": 429}):
        call = call_of(alice.principal, await routes.to(fake(**orders)))
        with pytest.raises(UpstreamError):
            await ask(call)
        assert nothing_was_used(ledger_row(call.id))


async def test_nobody_there(alice, routes, dead_url):
    call = call_of(alice.principal, await routes.to("fake", base_url=dead_url))
    with pytest.raises(UpstreamDown, match="cannot be reached"):
        await ask(call)
    assert nothing_was_used(ledger_row(call.id))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("orders", [{"status": 500}, {"status": 401}, {"status": 429}, {"malformed": 0}, {"cut": 0}, {"error": 0}])
async def test_the_next_target_answers(alice, routes, orders, stream):
    call = call_of(alice.principal, await routes.to(fake(**orders), "fake"), stream=stream)
    client = await ask(call)
    assert client.status == 200
    text = client.text if stream else client.json["choices"][0]["message"]["content"]
    assert text.strip() == TEXT
    row = ledger_row(call.id)
    assert (row["outcome"], row["upstream_model"], row["attempts"]) == ("completed", "fake", 3 if orders == {"status": 429} else 2)
    assert client.headers["x-menhir-attempts"] == str(row["attempts"])
    assert client.headers["x-menhir-upstream"] == row["provider"]


async def test_the_next_target_answers_for_one_that_is_not_there(alice, routes, dead_url):
    name = await routes.to("fake", "fake")

    def die() -> None:
        with tenant_transaction(alice.tenant):
            first = Provider.objects.within(alice.tenant).get(slug=f"{name}-0")
            first.base_url = dead_url
            first.save()

    await sync_to_async(die)()
    call = call_of(alice.principal, name)
    client = await ask(call)
    assert (client.status, client.headers["x-menhir-upstream"], client.headers["x-menhir-attempts"]) == (200, f"{name}-1", "2")
    assert ledger_row(call.id)["provider"] == f"{name}-1"


async def test_a_refusal_is_not_carried_to_the_next_target(alice, routes, upstream):
    with pytest.raises(UpstreamRefused):
        await ask(call_of(alice.principal, await routes.to(fake(status=400), "fake")))
    assert upstream.stats.requests == 1


async def test_busy_is_tried_once_more_and_then_answers(alice, routes):
    call = call_of(alice.principal, await routes.to(fake(busy=1)))
    assert (await ask(call)).status == 200
    assert ledger_row(call.id)["attempts"] == 2


async def test_one_that_asks_for_long_patience_is_passed_over(alice, routes, upstream):
    began = time.monotonic()
    call = call_of(alice.principal, await routes.to(fake(status=429, retry_after="30"), "fake"))
    assert (await ask(call)).status == 200
    assert time.monotonic() - began < 2
    assert upstream.stats.requests == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_before_the_first_byte_goes_to_the_next_target(alice, routes, upstream, stream):
    name = await routes.to(fake(first_ms=30_000), "fake", first_byte_timeout_seconds=0.3, answer_timeout_seconds=0.3)
    call = call_of(alice.principal, name, stream=stream)
    assert (await ask(call)).status == 200
    assert ledger_row(call.id)["attempts"] == 2
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)


async def test_keep_alives_are_a_sign_of_life(alice, routes):
    name = await routes.to(fake(first_ms=1200, comments=12), first_byte_timeout_seconds=0.5)
    client = await ask(call_of(alice.principal, name, stream=True))
    assert client.text.strip() == TEXT


@pytest.mark.parametrize("half", [0, 1])
async def test_a_stream_that_is_cut_says_so(alice, routes, half):
    call = call_of(alice.principal, await routes.to(fake(cut=3, chunks=10, half=half, gap_ms=5)), stream=True)
    client = await ask(call)
    assert client.status == 200
    assert client.ended
    assert client.events[-1]["error"]["type"] == "upstream_error"
    assert client.events[-1]["error"]["code"] == "upstream_cut"
    assert "[DONE]" not in client.events
    row = ledger_row(call.id)
    assert (row["outcome"], row["error_code"], row["usage_source"]) == ("failed", "upstream_cut", "estimate")
    assert row["output_tokens"] > 0


async def test_a_stream_that_closes_without_an_end_is_a_cut(alice, routes):
    client = await ask(call_of(alice.principal, await routes.to(fake(done=0, finish=0)), stream=True))
    assert client.events[-1]["error"]["code"] == "upstream_cut"


async def test_a_stream_that_finished_but_forgot_to_say_done_is_complete(alice, routes):
    call = call_of(alice.principal, await routes.to(fake(done=0)), stream=True)
    client = await ask(call)
    assert client.events[-1] == "[DONE]"
    assert ledger_row(call.id)["outcome"] == "completed"


async def test_an_error_inside_a_stream_is_relayed_and_the_ledger_knows(alice, routes):
    call = call_of(alice.principal, await routes.to(fake(error=3)), stream=True)
    client = await ask(call)
    assert client.events[-1]["error"]["code"] == "overheated"
    assert "[DONE]" not in client.events
    assert (ledger_row(call.id)["outcome"], ledger_row(call.id)["error_code"]) == ("failed", "upstream_down")


async def test_nonsense_inside_a_stream_ends_it_as_an_error(alice, routes):
    client = await ask(call_of(alice.principal, await routes.to(fake(malformed=3)), stream=True))
    assert client.events[-1]["error"]["type"] == "upstream_error"
    assert b"not json" not in client.body


async def test_silence_inside_a_stream_is_not_waited_for_for_ever(alice, routes, upstream):
    name = await routes.to(fake(gap_ms=30_000), first_byte_timeout_seconds=0.3)
    client = await ask(call_of(alice.principal, name, stream=True))
    assert client.events[-1]["error"]["code"] == "idle_timeout"
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usage", "tokens", "source"),
    [
        ("zero", (0, 0), "upstream"),
        ("none", (5, 24), "estimate"),
        ("wild", (5, 24), "estimate"),
        ("early", (4, len(TEXT.split())), "upstream"),
    ],
)
async def test_usage_is_the_upstreams_word_or_else_an_estimate_and_never_in_between(alice, routes, usage, tokens, source, stream):
    call = call_of(alice.principal, await routes.to(fake(usage=usage)), stream=stream)
    await ask(call)
    row = ledger_row(call.id)
    assert row["outcome"] == "completed"
    assert row["usage_source"] == source
    if source == "upstream":
        assert (row["input_tokens"], row["output_tokens"]) == tokens
    else:
        assert row["input_tokens"] > 0
        assert row["output_tokens"] == pytest.approx(tokens[1], abs=8)


async def hang_up_after(parts: int, call) -> float:
    """Run a call whose client leaves; gives when it left."""
    client, left = Client(), 0.0

    def leave(client: Client) -> None:
        nonlocal left
        if len(client.parts) == parts:
            left = time.monotonic()
            client.gone.set()

    client.on_part = leave
    if not parts:
        asyncio.get_running_loop().call_later(0.2, client.gone.set)
        left = time.monotonic() + 0.2
    await corridor.run(call, client, client.gone)
    assert not client.ended
    return left


@pytest.mark.parametrize(
    ("orders", "parts", "stream"),
    [({"gap_ms": 50, "chunks": 400}, 3, True), ({"first_ms": 20_000}, 0, True), ({"first_ms": 20_000}, 0, False)],
)
async def test_a_client_that_hangs_up_takes_the_upstream_with_it_within_a_second(alice, routes, upstream, orders, parts, stream):
    call = call_of(alice.principal, await routes.to(fake(**orders)), stream=stream)
    left = await hang_up_after(parts, call)
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)
    assert upstream.stats.cancelled[0] - left < 1
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["error_code"], row["usage_source"]) == ("cancelled", 499, "client_hung_up", "estimate")
    assert row["input_tokens"] > 0
    assert (row["output_tokens"] > 0) == (parts > 0)


async def test_a_client_that_has_left_while_we_waited_to_retry_is_noticed(alice, routes):
    call = call_of(alice.principal, await routes.to(fake(status=429, retry_after="1.9")))
    await hang_up_after(0, call)
    assert ledger_row(call.id)["outcome"] == "cancelled"


async def test_a_client_that_left_before_we_began_costs_nothing(alice, routes, upstream):
    call, client = call_of(alice.principal, await routes.to("fake")), Client()
    client.gone.set()
    await corridor.run(call, client, client.gone)
    assert upstream.stats.requests == 0
    assert ledger_row(call.id)["outcome"] == "cancelled"
    assert nothing_was_used(ledger_row(call.id))


async def test_a_process_that_goes_down_settles_what_it_can(alice, routes, upstream):
    call = call_of(alice.principal, await routes.to(fake(first_ms=20_000)))
    task = asyncio.create_task(ask(call))
    assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger_row(call.id)["outcome"] == "interrupted"


async def test_the_round_stops_when_nobody_is_watched(alice, routes):
    await ask(call_of(alice.principal, await routes.to("fake")))
    assert hangup._patrol._watches == set()
