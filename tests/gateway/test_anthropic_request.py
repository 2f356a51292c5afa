"""OpenAI's chat request in Anthropic's words: one golden translation for each thing that can be asked."""

from __future__ import annotations

import base64

import orjson
import pytest

from apps.gateway.errors import UpstreamRefused
from apps.gateway.upstreams.anthropic.encode import request_of

from peers.attempt import attempt_of

OLD, CURRENT, ADAPTIVE, NEWEST = "claude-3-5-haiku-20241022", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5-5"
HELLO = [{"role": "user", "content": "Hello"}]
HELLO_THERE = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a place", "parameters": {"properties": {"place": {"type": "string"}}}},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def request(*, model: str = CURRENT, route_limit: int | None = None, stream: bool = False, **body):
    asked = {"model": "what the client wrote", "messages": HELLO, **body}
    return request_of(attempt_of(model, asked, stream=stream, max_output_tokens=route_limit))


def said(**asked):
    return orjson.loads(request(**asked).body)


def test_the_least_that_is_said():
    assert said() == {"model": CURRENT, "max_tokens": 16_384, "messages": HELLO_THERE}
    assert said(stream=True, stream_options={"include_usage": True})["stream"] is True


def test_instructions_go_to_the_beginning_wherever_they_stand():
    messages = [
        {"role": "system", "content": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": "Hello"},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": ""}]},
    ]
    body = said(messages=messages)
    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    assert body["messages"] == HELLO_THERE


def test_an_instruction_alone_is_a_question():
    body = said(messages=[{"role": "system", "content": "Say hello."}])
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}]
    assert "system" not in body


def parts(*parts):
    return said(messages=[{"role": "user", "content": list(parts)}])["messages"][0]["content"]


def test_images():
    cached = {"type": "ephemeral", "ttl": "1h"}
    assert parts(
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}, "cache_control": cached},
    ) == [
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}, "cache_control": cached},
    ]


def test_documents():
    text = base64.b64encode("Größe".encode()).decode()
    assert parts(
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "JVBERg=="}},
        {"type": "file", "file": {"file_data": f"data:text/markdown;base64,{text}"}},
        {"type": "file", "file": {"file_data": "data:image/webp;base64,aGk="}},
        {"type": "file", "file": {"file_data": "https://x.example/a.pdf"}},
        {"type": "file", "file": {"file_id": "file_1", "filename": "b.pdf"}},
    ) == [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}, "title": "a.pdf"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Größe"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "aGk="}},
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}, "title": "b.pdf"},
    ]


def test_a_part_of_anthropics_own_stays_as_it_is():
    own = {"type": "search_result", "source": "x", "title": "X", "content": [{"type": "text", "text": "x"}], "citations": {"enabled": True}}
    assert parts(own) == [own]


def test_a_tool_loop():
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "not signed, not said",
            "thinking_blocks": [
                {"index": 0, "type": "thinking", "thinking": "Hm.", "signature": "s1"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "thinking", "thinking": "another model's", "signature": ""},
            ],
            "tool_calls": [
                {"id": "call:1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Carnac"}'}},
                {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "call:1", "content": "rain"},
        {
            "role": "tool",
            "tool_call_id": "call_2",
            "content": [{"type": "text", "text": "12"}],
            "is_error": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "So far \n"},
    ]
    assert said(messages=messages, tools=[WEATHER, CLOCK])["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s1"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"place": "Carnac"}},
                {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": [{"type": "text", "text": "12"}],
                    "is_error": True,
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "So far"}]},
    ]


def test_tools():
    own = {"type": "web_search_20250305", "name": "web_search"}
    strict = {"type": "function", "function": {**CLOCK["function"], "strict": True}, "cache_control": {"type": "ephemeral"}}
    assert said(tools=[WEATHER, strict, own])["tools"] == [
        {"name": "weather", "description": "Of a place", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}},
        {
            "name": "clock",
            "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        own,
    ]
    assert "strict" not in said(tools=[strict], model=OLD)["tools"][0]


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, {"type": "tool", "name": "clock"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
    ],
)
def test_which_tool_must_be_called(asked, choice):
    assert said(tools=[WEATHER, CLOCK], **asked).get("tool_choice") == choice


def test_a_choice_among_a_few_tools():
    few = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}}
    body = said(tools=[WEATHER, CLOCK], tool_choice=few)
    assert [tool["name"] for tool in body["tools"]] == ["clock"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_choice_without_tools_is_not_said():
    assert "tool_choice" not in said(tool_choice="auto", parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"text": "untyped"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages"),
        ({"messages": [{"role": "narrator", "content": "Once"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "12"}]}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [CLOCK], "tool_choice": "perhaps"}, "tool_choice"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"betas": ["one\r\nx-api-key: mine"]}, "betas"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_what_cannot_be_said_is_refused_by_its_name(asked, param):
    with pytest.raises(UpstreamRefused) as refused:
        request(**asked)
    assert refused.value.param == param
