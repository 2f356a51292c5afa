"""Anthropic's own client on a route that leads to Claude."""

from __future__ import annotations

import json

import pytest
from assistants.conftest import Company
from assistants.messages.conftest import QUESTION, WEATHER, client_of, message_of

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.script import TEXT


@pytest.mark.parametrize("stream", [False, True])
def test_claude_behind_claude(acmes: Company, *, stream: bool):
    """Signed thoughts go there and back: the peer refuses one that was changed."""
    model = acmes.chatting("thinks=1&calls=1&cached=2&written=1")
    client = client_of(acmes)
    more = {"model": model, "max_tokens": 2000, "tools": [WEATHER], "thinking": {"type": "enabled", "budget_tokens": 1024}}
    first = message_of(client, stream=stream, messages=QUESTION, **more)
    assert [block.type for block in first.content] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert first.stop_reason == "tool_use"
    assert (first.usage.cache_read_input_tokens, first.usage.cache_creation_input_tokens) == (2, 1)
    results = [{"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "rain", "is_error": True}]
    marked = {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}}
    conversation = [*QUESTION, {"role": "assistant", "content": first.content}, {"role": "user", "content": [*results, marked]}]
    second = message_of(client, stream=stream, messages=conversation, **more)
    assert second.stop_reason == "end_turn"
    sent = acmes.upstream.stats.bodies[-1]
    assert sent["thinking"] == more["thinking"]
    assert sent["tools"] == [WEATHER]
    assert sent["messages"][1]["content"] == [block.model_dump(exclude_none=True) for block in first.content]
    assert sent["messages"][2]["content"] == [*results, marked]


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_kept_for_an_hour_is_counted_apart(acmes: Company, *, stream: bool):
    asked = {"model": acmes.chatting("written=6"), "max_tokens": 9, "messages": QUESTION}
    if stream:
        with client_of(acmes).messages.stream(**asked) as told:
            (usage,) = [event.usage for event in told if event.type == "message_delta"]
            kept = usage.model_extra["cache_creation"]
    else:
        kept = client_of(acmes).messages.create(**asked).usage.cache_creation.model_dump()
    assert kept == {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 2}


@pytest.mark.parametrize("reason", ["pause_turn", "model_context_window_exceeded"])
@pytest.mark.parametrize("stream", [False, True])
def test_claudes_own_reasons_come_through(acmes: Company, reason: str, *, stream: bool):
    asked = {"model": acmes.chatting(f"reason={reason}"), "max_tokens": 9, "messages": QUESTION}
    message = message_of(client_of(acmes), stream=stream, **asked)
    assert message.stop_reason == reason


def test_what_claude_alone_knows_of_a_tool_reaches_claude_alone(acmes: Company):
    beside = {
        "defer_loading": True,
        "input_examples": [{"city": "Carnac"}],
        "eager_input_streaming": True,
        "allowed_callers": ["direct"],
    }
    known = {"type": "bash_20250124", "name": "bash"}
    create = client_of(acmes).messages.create
    create(model=acmes.chatting(), max_tokens=9, messages=QUESTION, tools=[{**WEATHER, **beside}, known])
    assert acmes.upstream.stats.bodies[-1]["tools"] == [{**WEATHER, **beside}, known]
    create(model="plain", max_tokens=9, messages=QUESTION, tools=[{**WEATHER, **beside}])
    (tool,) = acmes.upstream.stats.bodies[-1]["tools"]
    assert set(tool) == {"type", "function"}


@pytest.mark.parametrize("stream", [False, True])
def test_claude_says_which_sequence_it_was(acmes: Company, *, stream: bool):
    model = acmes.chatting("stopped=END")
    asked = {"model": model, "max_tokens": 9, "messages": QUESTION, "stop_sequences": ["END"]}
    message = message_of(client_of(acmes), stream=stream, **asked)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_a_message_falls_back_from_claude_to_another(acmes: Company):
    model = acmes.chatting("status=529&retry_after=9")
    with tenant_transaction(acmes.tenant):
        route = Route.objects.within(acmes.tenant).get(name=model)
        other = Provider(tenant=acmes.tenant, slug="other", kind="openai", base_url=acmes.upstream.base_url)
        other.save()
        route.lead_to((Provider.objects.within(acmes.tenant).get(slug="fake-anthropic"), "fake?status=529&retry_after=9"), (other, "fake"))
    blocks = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    message = client_of(acmes).messages.create(model=model, max_tokens=9, messages=[{"role": "user", "content": blocks}])
    assert message.content[0].text.strip() == TEXT
    assert "cache_control" in json.dumps(acmes.upstream.stats.bodies[0])
    assert "cache_control" not in json.dumps(acmes.upstream.stats.bodies[-1])
