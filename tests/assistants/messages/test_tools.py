"""Tools, over Anthropic's own client."""

from __future__ import annotations

import anthropic
import pytest
from assistants.conftest import Company
from assistants.messages.conftest import NEWS, QUESTION, WEATHER, client_of, message_of


@pytest.mark.parametrize("orders", ["calls=2", "calls=2&interleave=1", "calls=3&chunks=2", "calls=2&split=3", "calls=3&same=1"])
@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called(acmes: Company, orders: str, *, stream: bool):
    acmes.model("calling", orders)
    asked = {"model": "calling", "max_tokens": 100, "messages": QUESTION, "tools": [WEATHER, NEWS], "tool_choice": {"type": "any"}}
    message = message_of(client_of(acmes), stream=stream, **asked)
    calls = [block for block in message.content if block.type == "tool_use"]
    wanted = [{"city": f"Carnac {number}", "deep": {"a": [number]}} for number in range(len(calls))]
    assert [call.input for call in calls] == wanted
    assert [call.name for call in calls] == ["weather", "news", "weather"][: len(calls)]
    assert [call.id for call in calls] == [f"call_{number}" for number in range(len(calls))]
    assert len(calls) >= 2
    assert message.stop_reason == "tool_use"
    sent = acmes.upstream.stats.bodies[-1]
    assert sent["tool_choice"] == "required"
    assert sent["tools"][0] == {
        "type": "function",
        "function": {"name": "weather", "description": "Tells the weather.", "parameters": WEATHER["input_schema"]},
    }


@pytest.mark.parametrize("orders", ["calls=3&ids=0", "calls=3&ids=0&same=1"])
@pytest.mark.parametrize("stream", [False, True])
def test_calls_without_an_id_get_one_each(acmes: Company, orders: str, *, stream: bool):
    acmes.model("nameless", orders)
    asked = {"model": "nameless", "max_tokens": 100, "messages": QUESTION, "tools": [WEATHER]}
    message = message_of(client_of(acmes), stream=stream, **asked)
    assert [call.input["city"] for call in message.content] == ["Carnac 0", "Carnac 1", "Carnac 2"]
    assert len({call.id for call in message.content}) == 3
    assert all(call.id.startswith("toolu_") for call in message.content)


def test_a_conversation_with_tools_goes_on(acmes: Company):
    acmes.model("calling", "calls=2&thinks=1")
    client = client_of(acmes)
    tools = [WEATHER, NEWS]
    first = client.messages.create(model="calling", max_tokens=100, messages=QUESTION, tools=tools)
    assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": "call_0", "content": [{"type": "text", "text": "rain"}]},
        {"type": "tool_result", "tool_use_id": "call_1", "content": "nothing", "is_error": True},
        {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}},
    ]
    messages = [*QUESTION, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    client.messages.create(model="plain", max_tokens=100, messages=messages, tools=tools)
    sent = acmes.upstream.stats.bodies[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[1]["content"] is None
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_0", "call_1"]
    assert sent[2:] == [
        {"role": "tool", "tool_call_id": "call_0", "content": "rain"},
        {"role": "tool", "tool_call_id": "call_1", "content": "nothing"},
        {"role": "user", "content": [{"type": "text", "text": "Go on."}]},
    ]


@pytest.mark.parametrize("kind", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", ["custom"]])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_tools_that_the_provider_runs_are_refused_by_name(acmes: Company, kind: object, path: str):
    """What Claude says of them is lost in a chat: an answer would look whole and not be."""
    client = client_of(acmes)
    model = acmes.chatting()
    for param, more in (("tools[1].type", {"tools": [WEATHER, {"type": kind, "name": "x"}]}), ("mcp_servers", {"mcp_servers": [{}]})):
        with pytest.raises(anthropic.BadRequestError) as refused:
            client.post(path, cast_to=object, body={"model": model, "max_tokens": 9, "messages": QUESTION, **more})
        assert refused.value.body["error"]["param"] == param
    assert acmes.upstream.stats.requests == 0
