"""Guarded calls: what the client sees, what the upstream is asked, what the ledger says."""

from __future__ import annotations

import time
from decimal import Decimal

import orjson
import pytest
from asgiref.sync import sync_to_async

from apps.gateway.errors import GuardrailBlocked
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.wire import error_body
from menhir.errors import status_of
from menhir.tenancy.models import ApiKey
from menhir.tenancy.principal import Principal
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import Client, ask, call_of, fake, ledger_row

pytestmark = pytest.mark.usefixtures("gateway", "written")


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def blocked(call, client=None) -> GuardrailBlocked:
    from apps.gateway import corridor

    client = client or Client()
    with pytest.raises(GuardrailBlocked) as refused:
        await corridor.run(call, client, client.gone)
    assert not client.status
    return refused.value


async def test_a_blocked_request_costs_nothing_and_says_which_rule(alice, routes, guards, upstream):
    await guards.add("no-secrets", "regex", settings={"patterns": ["hunter2"]})
    call = call_of(alice.principal, await routes.to("gpt-4o-mini", tariff="openai"), messages=says("my password is hunter2"))
    error = await blocked(call)
    assert status_of(error) == 400
    assert error_body(error)["error"] == {
        "message": "This call was blocked by the guardrail `no-secrets`.",
        "type": "guardrail_blocked",
        "param": None,
        "code": "content_policy_violation",
    }
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["error_code"], row["cost"], row["attempts"]) == ("failed", 400, "guardrail:no-secrets", 0, 0)
    assert (row["input_tokens"], row["output_tokens"], row["provider"]) == (0, 0, "")
    assert upstream.stats.requests == 0
    (event,) = await guards.events()
    assert (event.call_id, event.guardrail, event.stage, event.outcome, event.counts) == (
        call.id,
        "no-secrets",
        "before",
        "blocked",
        {"pattern": 1},
    )
    assert event.user_id == alice.user.id
    assert "hunter2" not in str(vars(event))


async def test_every_text_of_a_request_is_looked_at(alice, routes, guards):
    await guards.add("no-secrets", "regex", settings={"patterns": ["hunter2"]})
    route = await routes.to("fake")
    for body in (
        {"messages": [{"role": "system", "content": "hunter2"}, *says("hi")]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "hunter2"}]}
            ]
        },
        {"messages": [*says("hi"), {"role": "tool", "tool_call_id": "1", "content": "hunter2"}]},
        {
            "messages": [
                *says("hi"),
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"a": "hunter2"}'}}]},
            ]
        },
        {"messages": says("hi"), "prediction": {"type": "content", "content": "hunter2"}},
    ):
        await blocked(call_of(alice.principal, route, **body))
    await blocked(call_of(alice.principal, route, operation="embeddings", input=["fine", "hunter2"]))


async def test_redacted_data_never_reaches_the_model_and_comes_back_to_the_client(alice, routes, guards, upstream):
    await guards.add("pii", "pii", action="redact", settings={"restore": True})
    said = "I am bob@example.com, not eve@example.com. Again: bob@example.com, +49 30 1234567"
    for stream in (False, True):
        for size in (1, 2, 3, 7, 1000):
            call = call_of(alice.principal, await routes.to(fake(echo=size)), messages=says(said), stream=stream)
            client = await ask(call)
            asked = upstream.stats.bodies[-1]["messages"][0]["content"]
            assert asked == "I am [EMAIL_1], not [EMAIL_2]. Again: [EMAIL_1], [PHONE_1]"
            told = client.text if stream else client.json["choices"][0]["message"]["content"]
            assert told == said
    events = await guards.events()
    assert {(event.outcome, event.counts["email"], event.counts["phone"]) for event in events} == {("redacted", 3, 1)}


async def test_without_restore_the_client_sees_placeholders(alice, routes, guards):
    await guards.add("pii", "pii", action="redact")
    client = await ask(call_of(alice.principal, await routes.to(fake(echo=4)), messages=says("bob@example.com"), stream=True))
    assert client.text == "[EMAIL_1]"


async def test_an_answer_is_redacted_whole_and_as_a_stream_of_any_cut(alice, routes, guards):
    await guards.add("pii", "pii", stage="after", action="redact")
    said = "Ask bob@example.com or +49 30 1234567; 石 naïve 🪨 card 4111 1111 1111 1111 end"
    expected = "Ask [EMAIL_1] or [PHONE_1]; 石 naïve 🪨 card [CREDIT_CARD_1] end"
    client = await ask(call_of(alice.principal, await routes.to(fake(echo=1000)), messages=says(said)))
    assert client.json["choices"][0]["message"]["content"] == expected
    for orders in ({"echo": size} for size in (1, 2, 3, 5, 11, 1000)):
        for more in ({}, {"split": 1}, {"finish": 0}, {"crlf": 1}):
            client = await ask(call_of(alice.principal, await routes.to(fake(**orders, **more)), messages=says(said), stream=True))
            assert client.text == expected
            assert client.events[-1] == "[DONE]"
            ids = {event["id"] for event in client.events[:-1]}
            assert len(ids) == 1


async def test_a_flag_changes_nothing_and_is_noted(alice, routes, guards):
    await guards.add("pii", "pii", stage="both", action="flag", settings={"kinds": ["email"]})
    call = call_of(alice.principal, await routes.to(fake(echo=3)), messages=says("bob@example.com"), stream=True)
    raw = call.raw
    client = await ask(call)
    assert client.text == "bob@example.com"
    assert call.raw == raw
    assert [(event.stage, event.outcome, event.counts) for event in await guards.events()] == [
        ("before", "flagged", {"email": 1}),
        ("after", "flagged", {"email": 1}),
    ]


async def test_a_blocked_answer_is_billed_and_not_shown(alice, routes, guards):
    await guards.add("no-stones", "regex", stage="after", settings={"patterns": ["(?i)STANDING stone"]})
    call = call_of(alice.principal, await routes.to("gpt-4o-mini", tariff="openai"))
    await blocked(call)
    row = ledger_row(call.id)
    assert (row["outcome"], row["status"], row["error_code"]) == ("failed", 400, "guardrail:no-stones")
    assert row["output_tokens"] > 0
    assert row["cost"] > Decimal(0)


async def test_a_blocked_stream_ends_in_an_error_and_the_upstream_is_hung_up_on(alice, routes, guards, upstream):
    await guards.add("no-stones", "regex", stage="after", settings={"patterns": ["one standing"], "window": 16})
    call = call_of(alice.principal, await routes.to(fake(chunks=400, gap_ms=20), tariff="openai"), stream=True)
    client = await ask(call)
    ended = time.monotonic()
    assert upstream.wait(lambda stats: stats.cancelled, seconds=2)
    assert upstream.stats.cancelled[0] - ended < 1
    assert client.ended
    assert client.events[-1]["error"]["type"] == "guardrail_blocked"
    assert "[DONE]" not in client.events
    assert "one standing" not in client.text
    assert "A menhir" in client.text or client.text == ""
    row = ledger_row(call.id)
    assert (row["outcome"], row["error_code"], row["usage_source"]) == ("failed", "guardrail:no-stones", "estimate")
    assert 0 < row["output_tokens"] < 100
    (event,) = await guards.events()
    assert (event.stage, event.outcome) == ("after", "blocked")


async def test_a_stream_is_blocked_as_soon_as_the_match_is_there(alice, routes, guards, upstream):
    await guards.add("nothing", "regex", stage="after", settings={"patterns": ["A menhir"]})
    call = call_of(alice.principal, await routes.to(fake(chunks=300, gap_ms=20)), stream=True)
    client = await ask(call)
    assert client.text == ""
    assert client.events[-1]["error"]["type"] == "guardrail_blocked"
    assert upstream.wait(lambda stats: stats.cancelled, seconds=1)
    row = ledger_row(call.id)
    assert row["error_code"] == "guardrail:nothing"
    assert row["output_tokens"] < 10


async def test_an_upstream_that_breaks_off_under_guard_still_says_so(alice, routes, guards):
    await guards.add("pii", "pii", stage="after", action="redact")
    for orders in ({"cut": 5}, {"error": 5}, {"malformed": 5}):
        call = call_of(alice.principal, await routes.to(fake(**orders)), stream=True)
        client = await ask(call)
        assert client.text == "A menhir is one standing "[: len(client.text)]
        assert len(client.text) > 10
        assert client.events[-1]["error"]
        assert ledger_row(call.id)["outcome"] == "failed"


async def test_a_client_that_hangs_up_under_guard(alice, routes, guards, upstream):
    await guards.add("pii", "pii", stage="after", action="redact")
    call = call_of(alice.principal, await routes.to(fake(chunks=400, gap_ms=20)), stream=True)
    client = Client(on_part=lambda client: client.gone.set())
    from apps.gateway import corridor

    await corridor.run(call, client, client.gone)
    assert upstream.wait(lambda stats: stats.cancelled, seconds=1)
    assert ledger_row(call.id)["outcome"] == "cancelled"


async def test_usage_and_comments_pass_a_guarded_stream(alice, routes, guards):
    await guards.add("pii", "pii", stage="after", action="redact")
    call = call_of(alice.principal, await routes.to(fake(comments=2, first_ms=20)), stream=True, stream_options={"include_usage": True})
    client = await ask(call)
    assert client.events[-2]["usage"]["completion_tokens"] > 0
    assert client.events[-1] == "[DONE]"


@pytest.mark.parametrize(("limit", "messages"), [({"max_characters": 20}, says("x" * 21)), ({"max_messages": 2}, says("a") * 3)])
async def test_size_before(alice, routes, guards, limit, messages):
    await guards.add("size", "size", settings=limit)
    await blocked(call_of(alice.principal, await routes.to("fake"), messages=messages))
    await ask(call_of(alice.principal, await routes.to("fake"), messages=says("short")))


async def test_size_of_a_stream(alice, routes, guards):
    await guards.add("size", "size", stage="after", settings={"max_characters": 30})
    client = await ask(call_of(alice.principal, await routes.to(fake(chunks=50, gap_ms=5)), stream=True))
    assert client.events[-1]["error"]["code"] == "content_policy_violation"
    assert len(client.text) <= 30


async def test_models_that_are_not_allowed(alice, routes, guards):
    await guards.add("models", "models", settings={"allow": ["cheap-*", "assistant:*"]})
    await routes.to("fake", name="cheap-1")
    await routes.to("fake", name="dear")
    await ask(call_of(alice.principal, "cheap-1"))
    assert (await blocked(call_of(alice.principal, "dear"))).guardrail == "models"


async def test_models_for_some_users_alone(alice, routes, guards):
    await guards.add("models", "models", settings={"allow": ["cheap"], "users": ["carol"]})
    route = await routes.to("fake", name="dear")
    await ask(call_of(alice.principal, route))
    call = call_of(alice.principal, route)
    call.unit = "carol"
    await blocked(call)


async def test_a_rule_watches_the_routes_and_keys_it_names_and_no_others(alice, routes, guards):
    here, there = await routes.to("fake", name="here"), await routes.to("fake", name="there")
    await guards.add("by-route", "regex", settings={"patterns": ["x"]}, routes=["here"])
    await blocked(call_of(alice.principal, here, messages=says("x")))
    await ask(call_of(alice.principal, there, messages=says("x")))

    def issue() -> ApiKey:
        with tenant_transaction(alice.tenant):
            return ApiKey.issue(alice.tenant, name="app", by=alice.user)[0]

    key = await sync_to_async(issue)()
    await guards.add("by-key", "regex", settings={"patterns": ["y"]}, keys=[key.id])
    who = Principal(alice.tenant.id, alice.tenant.slug, "key", key.id, "app", None, frozenset())
    await ask(call_of(alice.principal, there, messages=says("y")))
    assert (await blocked(call_of(who, there, messages=says("y")))).guardrail == "by-key"


async def test_rules_are_asked_in_their_order_and_see_what_the_last_one_left(alice, routes, guards, upstream):
    await guards.add("second", "regex", position=2, settings={"patterns": ["bob@example.com"]})
    await guards.add("first", "pii", position=1, action="redact")
    await ask(call_of(alice.principal, await routes.to("fake"), messages=says("bob@example.com")))
    assert upstream.stats.bodies[-1]["messages"][0]["content"] == "[EMAIL_1]"


async def test_tokens_cannot_be_read_and_pass_no_rule_that_fails_closed(alice, routes, guards):
    from apps.gateway import corridor
    from apps.gateway.errors import GuardrailUnavailable

    route = await routes.to("fake")
    await guards.add("open", "pii", settings={})
    await ask(call_of(alice.principal, route, operation="embeddings", input=[1, 2, 3]))
    await guards.add("closed", "pii", fails_closed=True)
    call, client = call_of(alice.principal, route, operation="embeddings", input=[1, 2, 3]), Client()
    with pytest.raises(GuardrailUnavailable):
        await corridor.run(call, client, client.gone)
    assert ledger_row(call.id)["error_code"] == "guardrail:closed"


async def test_another_tenants_rules_are_his_own(alice, mallory, routes, guards):
    def forbid() -> None:
        with tenant_transaction(mallory.tenant):
            Guardrail.create(mallory.tenant, name="all", kind="regex", settings={"patterns": ["."]}, by=mallory.principal)

    await sync_to_async(forbid)()
    await ask(call_of(alice.principal, await routes.to("fake")))
    assert await guards.events() == []


async def test_answers_that_were_guarded_are_kept_and_those_with_somebodys_data_in_them_are_not(alice, routes, guards, upstream):
    await guards.add("after", "pii", stage="after", action="redact")
    route = await routes.to(fake(echo=5), policy={"cache_seconds": 60})
    for _ in range(2):
        client = await ask(call_of(alice.principal, route, messages=says("at bob@example.com")))
        assert client.json["choices"][0]["message"]["content"] == "at [EMAIL_1]"
    assert upstream.stats.requests == 1
    await guards.add("before", "pii", action="redact", settings={"restore": True})
    for name in ("carol", "dave"):
        client = await ask(call_of(alice.principal, route, messages=says(f"at {name}@example.com")))
        assert client.json["choices"][0]["message"]["content"] == f"at {name}@example.com"
    assert upstream.stats.requests == 3


async def test_a_route_without_rules_pays_nothing(alice, routes):
    call = call_of(alice.principal, await routes.to("fake"))
    await ask(call)
    assert call.route.guards is None
    assert call.guard is None
    began = time.perf_counter()
    for _ in range(100_000):
        if call.route.guards is not None:
            raise AssertionError
    assert (time.perf_counter() - began) / 100_000 < 0.5e-6


async def test_tool_arguments_of_a_stream_are_checked_by_themselves():
    from apps.gateway.guardrails.guard import Guard, finder_of
    from apps.gateway.guardrails.guarding import CallGuard
    from apps.gateway.guardrails.kinds import settings_of
    from apps.gateway.guardrails.streaming import StreamGuard
    from menhir.postgres.ids import uuid7
    from menhir.tenancy.principal import system

    rules = settings_of("pii", {})
    guard = Guard(uuid7(), "pii", "pii", "redact", False, False, True, frozenset(), rules, finder_of("pii", rules))
    call = call_of(system(uuid7(), "t"), "m", stream=True)
    stream = StreamGuard(CallGuard(call, [guard]))
    deltas = [
        {"role": "assistant", "content": "I ask bob@exam"},
        {"content": "ple.com"},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "mail", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"to": "eve@'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'example.com"}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "b", "type": "function", "function": {"name": "mail", "arguments": '{"to": "bob@example.com"}'}}
            ]
        },
    ]
    chunks = [
        {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": {"content": [1]}}]} for delta in deltas
    ]
    chunks.append({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    out = b""
    for chunk in chunks:
        out += await stream.take(b"data: " + orjson.dumps(chunk) + b"\n\n", ended=False)
    out += await stream.take(b"", ended=True)
    content, arguments, order = "", {0: "", 1: ""}, []
    for line in out.decode().split("\n\n")[:-1]:
        choice = orjson.loads(line.removeprefix("data: "))["choices"][0]
        assert not choice.get("logprobs")
        if text := choice["delta"].get("content"):
            content += text
            order.append("content")
        for tool in choice["delta"].get("tool_calls", ()):
            arguments[tool["index"]] += tool["function"]["arguments"]
            order.append(f"tool {tool['index']}")
    assert content == "I ask [EMAIL_1]"
    assert arguments == {0: '{"to": "[EMAIL_2]"}', 1: '{"to": "[EMAIL_1]"}'}
    assert order == sorted(order)
    assert choice["finish_reason"] == "tool_calls"
