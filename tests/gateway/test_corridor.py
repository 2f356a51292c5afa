"""A call that goes well: what the client gets, what the upstream is asked, what the ledger says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.gateway.errors import UnknownModel
from menhir.metering.ledger import ledger

from peers.caller import MESSAGES, ask, call_of, fake, ledger_row
from peers.script import TEXT

WORDS = len(TEXT.split())
pytestmark = pytest.mark.usefixtures("gateway")


async def test_a_whole_answer(alice, routes, upstream):
    call = call_of(alice.principal, await routes.to("fake", name="gpt-4o-mini", tariff="openai"))
    client = await ask(call)
    assert client.status == 200
    assert client.ended
    assert client.json["choices"][0]["message"]["content"].strip() == TEXT
    assert client.json["usage"] == {**client.json["usage"], "prompt_tokens": 4, "completion_tokens": WORDS}
    assert client.headers["x-menhir-route"] == "gpt-4o-mini"
    assert client.headers["x-menhir-upstream"] == "gpt-4o-mini-0"
    assert client.headers["x-menhir-attempts"] == "1"
    assert client.headers["content-type"] == "application/json"
    assert int(client.headers["openai-processing-ms"]) >= float(client.headers["x-menhir-overhead-ms"]) - 1
    assert upstream.stats.bodies[-1] == {"model": "fake", "messages": MESSAGES}
    assert upstream.stats.headers[-1]["authorization"] == "Bearer sk-fake"
    assert upstream.stats.headers[-1]["x-request-id"] == "req-1"
    row = ledger_row(call.id)
    assert (row["tenant_id"], row["user_id"], row["model"], row["route"]) == (alice.tenant.id, alice.user.id, "gpt-4o-mini", "gpt-4o-mini")
    assert (row["outcome"], row["status"], row["provider"], row["upstream_model"], row["attempts"]) == (
        "completed",
        200,
        "gpt-4o-mini-0",
        "fake",
        1,
    )
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (4, WORDS, "upstream")
    assert row["error_code"] is None


async def test_a_priced_model_costs_and_says_so(alice, routes):
    call = call_of(alice.principal, await routes.to("gpt-4o-mini", tariff="openai"))
    client = await ask(call)
    # 4 tokens in at $0.15 and WORDS out at $0.60 for a million.
    expected = (Decimal(4) * Decimal("0.15") + Decimal(WORDS) * Decimal("0.60")) / 1_000_000
    assert Decimal(client.headers["x-menhir-cost"]) == ledger_row(call.id)["cost"] == expected
    assert ledger_row(call.id)["estimate"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_heard_and_spoken_has_prices_of_its_own(alice, routes, stream):
    call = call_of(alice.principal, await routes.to("gpt-4o-realtime-preview?heard=3&spoken=5", tariff="openai"), stream=stream)
    await ask(call)
    expected = Decimal(1 * 5 + 3 * 40 + (WORDS - 5) * 20 + 5 * 80) / 1_000_000
    assert ledger_row(call.id)["cost"] == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_gemini_says_what_it_heard_by_its_kind(alice, routes, upstream, stream):
    name = await routes.to("gemini-live-2.5-flash?heard=3&spoken=2", kind="gemini", base_url=upstream.gemini_url, tariff="google")
    call = call_of(alice.principal, name, stream=stream)
    await ask(call)
    row = ledger_row(call.id)
    read, written = row["input_tokens"] - 3, row["output_tokens"] - 2
    assert row["cost"] == (read * Decimal("0.5") + 3 * 3 + written * 2 + 2 * 12) / 1_000_000


async def test_the_same_model_without_a_price_list_costs_nothing(alice, routes):
    call = call_of(alice.principal, await routes.to("gpt-4o-mini"))
    client = await ask(call)
    assert Decimal(client.headers["x-menhir-cost"]) == ledger_row(call.id)["cost"] == 0


async def test_a_stream_passes_through_and_its_usage_stays_with_us(alice, routes, upstream):
    call = call_of(alice.principal, await routes.to(fake(chunks=12)), stream=True)
    client = await ask(call)
    assert client.headers["content-type"].startswith("text/event-stream")
    assert client.headers["x-accel-buffering"] == "no"
    assert client.text == "".join((TEXT.split() * 2)[n] + " " for n in range(12))
    assert client.events[-1] == "[DONE]"
    assert all(event == "[DONE]" or event["choices"] for event in client.events)
    assert upstream.stats.bodies[-1]["stream_options"] == {"include_usage": True}
    row = ledger_row(call.id)
    assert (row["outcome"], row["input_tokens"], row["output_tokens"], row["stream"]) == ("completed", 4, 12, True)
    assert row["first_token_ms"] <= row["latency_ms"]


async def test_a_client_that_asked_for_usage_gets_it(alice, routes, upstream):
    options = {"include_usage": True, "include_obfuscation": False}
    client = await ask(call_of(alice.principal, await routes.to("fake"), stream=True, stream_options=options))
    assert client.events[-2]["choices"] == []
    assert client.events[-2]["usage"]["completion_tokens"] == WORDS
    assert upstream.stats.bodies[-1]["stream_options"] == options


async def test_the_clients_bytes_go_out_untouched_when_nothing_must_change(alice, routes, upstream):
    name = await routes.to("same-name", name="same-name")
    call = call_of(alice.principal, name)
    call.raw = b'{ "messages": [{"role":"user","content":"\\u0048i"}],\n "model": "same-name", "seed": 12345678901234567890 }'
    await ask(call)
    assert upstream.stats.bodies[-1] == {
        "messages": [{"role": "user", "content": "Hi"}],
        "model": "same-name",
        "seed": 12345678901234567890,
    }


@pytest.mark.parametrize("orders", [{"split": 1}, {"split": 7}, {"crlf": 1}, {"crlf": 1, "split": 3}, {"comments": 3}, {"linger_ms": 50}])
async def test_streams_of_any_cut_arrive_the_same(alice, routes, orders):
    client = await ask(call_of(alice.principal, await routes.to(fake(**orders)), stream=True))
    assert client.text.strip() == TEXT
    assert client.events[-1] == "[DONE]"


async def test_chunks_are_not_held_back(alice, routes):
    client = await ask(call_of(alice.principal, await routes.to(fake(chunks=5, gap_ms=60)), stream=True))
    gaps = [b - a for a, b in zip(client.times, client.times[1:], strict=False)]
    assert len(gaps) >= 4
    assert sum(gap > 0.03 for gap in gaps) >= 4


async def test_the_preface_comes_first_in_the_name_of_the_answer(alice, routes):
    passages = {"passages": [{"id": "1", "title": "Handbuch „M“"}]}
    call = call_of(alice.principal, await routes.to("fake"), stream=True)
    call.preface = passages
    streamed = (await ask(call)).events
    assert streamed[0]["menhir"] == passages
    assert streamed[0]["id"] == streamed[1]["id"]
    assert streamed[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    call = call_of(alice.principal, await routes.to("fake"))
    call.preface = passages
    call.prompt_version = "support@3"
    whole = await ask(call)
    assert whole.json["menhir"] == passages
    assert whole.headers["x-menhir-prompt-version"] == "support@3"


async def test_embeddings_are_answered_again_from_memory_and_both_stand_in_the_ledger(alice, mallory, routes, upstream):
    name = await routes.to("text-embedding-3-small", tariff="openai")
    first, second, other = (
        call_of(alice.principal, name, operation="embeddings", input=text) for text in ("a menhir", ["a menhir"], "a dolmen")
    )
    one, two, three = await ask(first), await ask(second), await ask(other)
    assert upstream.stats.requests == 2
    assert one.json["data"] == two.json["data"] != three.json["data"]
    assert two.headers["x-menhir-cache"] == "hit"
    assert "x-menhir-cache" not in one.headers
    assert (ledger_row(first.id)["provider"], ledger_row(first.id)["input_tokens"]) == (f"{name}-0", 2)
    await ledger.noted()
    row = ledger_row(second.id)
    assert (row["outcome"], row["provider"], row["cost"], row["input_tokens"], row["attempts"]) == ("completed", "cache", 0, 0, 0)


async def test_an_unknown_model_reaches_no_upstream_and_leaves_no_row(alice, mallory, routes, upstream):
    name = await routes.to("fake")
    for principal, model in ((alice.principal, "no-such-model"), (mallory.principal, name)):
        call = call_of(principal, model)
        with pytest.raises(UnknownModel):
            await ask(call)
        assert ledger_row(call.id) == {}
    assert upstream.stats.requests == 0
