"""OpenAI's chat request in Gemini's words: one golden translation for each thing that can be asked."""

from __future__ import annotations

import orjson
import pytest

from apps.gateway.errors import UpstreamRefused
from apps.gateway.upstreams.gemini.conversation import UNSIGNED
from apps.gateway.upstreams.gemini.encode import body_of, path_of

from peers.attempt import attempt_of

SECOND, THIRD = "gemini-2.5-flash", "gemini-3-pro-preview"
HELLO = [{"role": "user", "content": "Hello"}]
HELLO_THERE = [{"role": "user", "parts": [{"text": "Hello"}]}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "additionalProperties": False},
        "strict": True,
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def said(*, model: str = SECOND, route_limit: int | None = None, stream: bool = False, **body):
    asked = {"model": "what the client wrote", "messages": HELLO, **body}
    return orjson.loads(body_of(attempt_of(model, asked, stream=stream, max_output_tokens=route_limit)))


def test_the_least_that_is_said():
    assert said() == {"contents": HELLO_THERE}
    assert said(stream=True, stream_options={"include_usage": True}) == {"contents": HELLO_THERE}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("odd?name#", "/models/odd%3Fname%23:generateContent"),
    ],
)
def test_a_model_is_in_the_path(model, path):
    assert path_of(model, "generateContent") == path


def test_instructions_and_turns():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": "there"}, {"type": "text", "text": ""}]},
        {"role": "assistant", "content": "Hi", "extra_content": {"google": {"thought_signature": "s"}}},
        {"role": "developer", "content": "Be kind."},
    ]
    assert said(messages=messages) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hello"}, {"text": "there"}]},
            {"role": "model", "parts": [{"text": "Hi", "thoughtSignature": "s"}]},
        ],
    }


def test_an_instruction_alone_is_a_question():
    assert said(messages=[{"role": "system", "content": "Say hello."}]) == {
        "contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]
    }


def test_images_files_and_sounds():
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.webp?size=2"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "JVBERg=="}},
        {"type": "file", "file": {"file_id": "https://g.example/v1beta/files/abc", "filename": "a.mp4"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"fileData": {"fileUri": "gs://a/b", "mimeType": "video/mp4"}},
    ]
    assert said(messages=[{"role": "user", "content": parts}])["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"fileUri": "https://x.example/a.webp?size=2", "mimeType": "image/webp"}},
        {"fileData": {"fileUri": "https://x.example/a", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
        {"fileData": {"fileUri": "https://g.example/v1beta/files/abc", "mimeType": "video/mp4"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}},
        {"fileData": {"fileUri": "gs://a/b", "mimeType": "video/mp4"}},
    ]


def loop(*, signed=True):
    extra = {"extra_content": {"google": {"thought_signature": "s"}}} if signed else {}
    return [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Carnac"}'}, **extra},
                {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "rain"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "12"},
    ]


def test_a_tool_loop():
    assert said(messages=loop(), tools=[WEATHER, CLOCK])["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "c1", "name": "weather", "args": {"place": "Carnac"}}, "thoughtSignature": "s"},
                {"functionCall": {"id": "c2", "name": "clock", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "weather", "response": {"sky": "rain"}}},
                {"functionResponse": {"id": "c2", "name": "clock", "response": {"output": "12"}}},
            ],
        },
    ]


def test_what_a_tool_says():
    picture = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]
    messages = [
        *loop()[:2],
        {"role": "tool", "tool_call_id": "c1", "content": picture},
        {"role": "tool", "tool_call_id": "c2", "content": "no", "is_error": True},
    ]
    first, second = said(messages=messages)["contents"][-1]["parts"]
    assert first["functionResponse"]["response"] == {"output": "look"}
    assert first["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    assert second["functionResponse"]["response"] == {"error": "no"}


def test_a_call_that_nobody_signed_is_excused():
    first = said(messages=loop(signed=False), model=THIRD)["contents"][1]["parts"][0]
    assert first["thoughtSignature"] == UNSIGNED
    assert "thoughtSignature" not in said(messages=loop(signed=False), model=SECOND)["contents"][1]["parts"][0]
    assert said(messages=loop(), model=THIRD)["contents"][1]["parts"][0]["thoughtSignature"] == "s"


def test_tools():
    own = {"googleSearch": {}}
    assert said(tools=[WEATHER, CLOCK, own])["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "description": "Of a place",
                    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
                },
                {"name": "clock"},
            ]
        },
        own,
    ]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ({"type": "function", "function": {"name": "clock"}}, {"mode": "ANY", "allowedFunctionNames": ["clock"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CLOCK]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["clock"]},
        ),
    ],
)
def test_which_tool_must_be_called(choice, calling):
    assert said(tools=[WEATHER, CLOCK], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": calling}
    assert "toolConfig" not in said(tool_choice="auto")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"messages": 5}, "messages"),
        ({"messages": [{"role": "narrator", "content": "Once"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages"),
        ({"messages": [{"role": "tool", "tool_call_id": "never made", "content": "12"}]}, "messages"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [CLOCK], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    ],
)
def test_what_cannot_be_said_is_refused_by_its_name(asked, param):
    with pytest.raises(UpstreamRefused) as refused:
        said(**asked)
    assert refused.value.param == param
