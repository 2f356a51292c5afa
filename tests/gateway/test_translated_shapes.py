"""Whatever shape comes in, from a client or from an upstream, it is translated or refused: never an error of ours."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.errors import UpstreamError, UpstreamRefused
from apps.gateway.upstreams.anthropic import decode as of_anthropic
from apps.gateway.upstreams.anthropic.encode import request_of
from apps.gateway.upstreams.anthropic.stream import Stream as AnthropicStream
from apps.gateway.upstreams.gemini import decode as of_gemini
from apps.gateway.upstreams.gemini import embeddings
from apps.gateway.upstreams.gemini.encode import body_of
from apps.gateway.upstreams.gemini.stream import Stream as GeminiStream

from peers import claude
from peers.attempt import attempt_of
from peers.gemini import script
from peers.script import Orders

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(max_size=5))
JSON = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=5
)
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "clock", "arguments": '{"a": 1}'},
    "extra_content": {"google": {"thought_signature": "s"}},
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"], "enum": ["x"]}, "b": {"$ref": "#/$defs/b"}, "c": {"type": "array", "items": {}}},
    "$defs": {"b": {"allOf": [{"anyOf": [{"type": "null"}, {"const": "x"}]}]}},
    "required": ["a"],
}
BODY = {
    "messages": [
        {"role": "system", "content": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL],
            "thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": "b"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12"},
    ],
    "tools": [{"type": "function", "function": {"name": "clock", "parameters": SCHEMA, "strict": True}}],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]},
    },
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    "stop": ["a"],
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "metadata": {"user_id": "u"},
    "modalities": ["text"],
    "generationConfig": {"topK": 1},
    "extra_body": {"google": {"thinking_config": {}}},
    "output_config": {"effort": "low"},
    "betas": ["a"],
    "temperature": 0.5,
    "max_tokens": 10,
    "reasoning_effort": "low",
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Everything that is in there, by the way to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, item in inner for place in ((*path, name), *places(item, (*path, name)))]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """The same with one to three places that hold something else, or nothing."""
    changed = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(changed)))
        around = changed
        for name in way:
            around = around[name]
        if isinstance(around, dict) and draw(st.booleans()):
            del around[last]
        else:
            around[last] = draw(JSON)
        if not places(changed):
            break
    return changed


@settings(max_examples=200)
@given(damaged(BODY), st.sampled_from(["claude-3-5-haiku", "claude-sonnet-4-5", "claude-opus-5"]))
def test_any_request_is_said_to_anthropic_or_refused(body: Any, model: str):
    try:
        orjson.loads(request_of(attempt_of(model, body)).body)
    except UpstreamRefused:
        return


@settings(max_examples=200)
@given(damaged(BODY), st.sampled_from(["gemini-2.5-flash", "gemini-3-pro"]))
def test_any_request_is_said_to_gemini_or_refused(body: Any, model: str):
    try:
        orjson.loads(body_of(attempt_of(model, body)))
    except UpstreamRefused:
        return


@given(damaged({"input": ["a", "b"], "dimensions": 5}))
def test_any_texts_are_embedded_or_refused(body: Any):
    try:
        assert [orjson.loads(batch) for batch in embeddings.bodies_of(body, "m")]
    except UpstreamRefused:
        return


MESSAGE = {
    "id": "m",
    "type": "message",
    "model": "c",
    "content": [
        {"type": "thinking", "thinking": "a", "signature": "b"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "clock", "input": {"a": 1}},
    ],
    "stop_reason": "refusal",
    "stop_details": {"explanation": "no"},
    "usage": {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 1},
        "output_tokens_details": {"thinking_tokens": 1},
    },
}
RESPONSE = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "a", "thoughtSignature": "s"},
                    {"functionCall": {"name": "clock", "args": {}}},
                    {"inlineData": {"mimeType": "a", "data": "b"}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "b"}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "Yg=="}},
                ]
            },
            "finishReason": "STOP",
            "index": 0,
            "logprobsResult": {
                "chosenCandidates": [{"token": "a", "logProbability": -1}],
                "topCandidates": [{"candidates": [{"token": "a"}]}],
            },
        }
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
    "promptFeedback": {"blockReason": None},
}


@settings(max_examples=200)
@given(damaged(MESSAGE), st.booleans())
def test_any_message_is_understood_or_a_failure(message: Any, by_tool: bool):  # noqa: FBT001 - drawn
    try:
        orjson.loads(of_anthropic.whole(orjson.dumps(message), by_tool=by_tool, provider="p", created=1))
    except UpstreamError:
        return


@settings(max_examples=200)
@given(damaged(RESPONSE))
def test_any_response_is_understood_or_a_failure(response: Any):
    try:
        orjson.loads(of_gemini.whole(orjson.dumps(response), provider="p", model="m", request_id="r", created=1))
    except UpstreamError:
        return


BLOCKS = [
    {"type": "thinking", "thinking": "a b", "signature": "s"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "text", "text": "", "words": ["a"]},
    {"type": "tool_use", "id": "t", "name": "clock", "input": {"a": 1}},
]
CLAUDES = [
    orjson.loads(event.split(b"data: ")[1])
    for event in claude.script(Orders(), head={"id": "m", "model": "c"}, blocks=BLOCKS, prompt=1, words=1, end={"stop_reason": "end_turn"})
]
ASKED = {"contents": [{"role": "user", "parts": [{"text": "a"}]}], "tools": [{"functionDeclarations": [{"name": "clock"}]}]}
GEMINIS = script(ASKED, Orders(calls=1), head={"responseId": "r"}, words=["a", "b"], prompt=1, signs=True)


@settings(max_examples=200)
@given(damaged(CLAUDES), st.booleans())
def test_any_events_of_anthropic_are_understood_or_a_failure(events: Any, by_tool: bool):  # noqa: FBT001 - drawn
    stream = AnthropicStream(by_tool=by_tool, provider="p", model="m", created=1)
    try:
        assert [stream.take(orjson.dumps(event)) for event in events]
        assert stream.end() is not None
    except UpstreamError:
        return


@settings(max_examples=200)
@given(damaged(GEMINIS))
def test_any_events_of_gemini_are_understood_or_a_failure(events: Any):
    stream = GeminiStream(provider="p", model="m", request_id="r", created=1)
    try:
        assert [stream.take(orjson.dumps(event)) for event in events]
        assert stream.end() is not None
    except UpstreamError:
        return
