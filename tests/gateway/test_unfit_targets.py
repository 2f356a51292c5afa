"""What one target cannot do, another one may; what a client wrote wrongly is nobody's failure."""

from __future__ import annotations

import time

import pytest

from apps.gateway import routing
from apps.gateway.errors import UpstreamDown, UpstreamRefused, UpstreamUnauthorized, UpstreamUnfit
from menhir.errors import status_of

from peers.caller import ask, call_of, fake, ledger_row

pytestmark = pytest.mark.usefixtures("gateway")
HEARING = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}]
VIDEO = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def of_text(data: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}]


def of_image(url: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


async def breaker_of(tenant, name, number=0):
    return (await routing.resolve(tenant.id, name)).targets[number].health.breaker


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("anthropic", {"n": 2}),
        ("anthropic", {"modalities": ["text", "audio"]}),
        ("anthropic", {"messages": HEARING}),
        ("gemini", {"messages": VIDEO}),
        ("extract", {"n": 2}),
        ("extract", {"response_format": SCHEMA}),
    ],
)
async def test_what_one_model_cannot_do_the_next_is_asked(alice, routes, upstream, kind, asked):
    client = await ask(call_of(alice.principal, await routes.among((kind, "fake"), ("openai", "fake")), **asked))
    assert client.headers["x-menhir-upstream"].endswith("-1")
    assert upstream.stats.requests == 1
    with pytest.raises(UpstreamUnfit) as refused:
        await ask(call_of(alice.principal, await routes.among((kind, "fake")), **asked))
    assert status_of(refused.value) == 400


@pytest.mark.parametrize("kind", ["anthropic", "embedder", "extract"])
async def test_what_a_kind_does_not_answer_the_next_does(alice, routes, kind):
    asked = {"operation": "chat"} if kind == "embedder" else {"operation": "embeddings", "input": ["a"]}
    client = await ask(call_of(alice.principal, await routes.among((kind, "fake"), ("openai", "fake")), **asked))
    assert client.headers["x-menhir-upstream"].endswith("-1")


@pytest.mark.parametrize(("orders", "error"), [({"status": 500}, UpstreamDown), ({"status": 401}, UpstreamUnauthorized)])
async def test_one_that_is_down_is_told_rather_than_one_that_cannot(alice, routes, orders, error):
    call = call_of(alice.principal, await routes.among(("openai", fake(**orders)), ("anthropic", "fake")), n=2)
    with pytest.raises(error) as down:
        await ask(call)
    assert status_of(down.value) == ledger_row(call.id)["status"] == 503


async def test_one_that_may_come_back_is_told_rather_than_one_that_will_not(alice, routes):
    with pytest.raises(UpstreamDown) as down:
        await ask(call_of(alice.principal, await routes.among(("openai", fake(status=500)), ("openai", fake(status=404)))))
    assert down.value.upstream_status == 500
    with pytest.raises(UpstreamDown) as gone:
        await ask(call_of(alice.principal, await routes.among(("openai", fake(status=404)))))
    assert (b"x-should-retry", b"false") in gone.value.headers


def too_deep() -> list:
    """What can be read, and not be written again."""
    deep: list = []
    for _ in range(300):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("gemini", {"messages": of_image("http://[")}),
        ("gemini", {"messages": of_text("https://[")}),
        ("anthropic", {"messages": of_text("data:text/plain;base64,é")}),
        ("anthropic", {"messages": of_text("data:text/plain;base64,////")}),
        ("openai", {"odd": too_deep()}),
    ],
)
async def test_what_a_client_wrote_wrongly_is_held_against_nobody(alice, routes, upstream, kind, asked):
    name = await routes.among((kind, "fake"))
    for _ in range(6):
        call = call_of(alice.principal, name)
        call.body |= asked
        with pytest.raises(UpstreamRefused) as refused:
            await ask(call)
    assert not isinstance(refused.value, UpstreamUnfit)
    assert status_of(refused.value) == 400
    assert upstream.stats.requests == 0
    assert (await breaker_of(alice.tenant, name)).calm


async def test_what_an_operator_wrote_wrongly_is(alice, routes):
    name = await routes.to("fake", base_url="http://[/v1")
    with pytest.raises(UpstreamDown):
        await ask(call_of(alice.principal, name))
    assert not (await breaker_of(alice.tenant, name)).calm


async def test_a_refusal_of_our_own_says_nothing_of_a_target_that_is_being_tried_again(alice, routes):
    name = await routes.among(("anthropic", "fake"))
    breaker = await breaker_of(alice.tenant, name)
    for _ in range(5):
        breaker.failed(time.monotonic() - 10)
    with pytest.raises(UpstreamUnfit):
        await ask(call_of(alice.principal, name, n=2))
    assert breaker.state(time.monotonic()) == "half_open"
    assert not breaker.shuns(time.monotonic())
