"""OpenAI's chat request in Gemini's words: one golden translation for each thing that can be asked."""

from __future__ import annotations

import orjson
import pytest

from apps.gateway.call import ResolvedTarget
from apps.gateway.errors import UpstreamRefused
from apps.gateway.upstreams import Attempt
from apps.gateway.upstreams.gemini import embeddings
from apps.gateway.upstreams.gemini.conversation import UNSIGNED
from apps.gateway.upstreams.gemini.encode import body_of, path_of
from apps.gateway.upstreams.gemini.schemas import known
from menhir.postgres.ids import uuid7

from peers import gemini_rules

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
    target = ResolvedTarget(
        kind="gemini", provider="google", provider_id=uuid7(), base_url="", credential="", headers={}, upstream_model=model
    )
    attempt = Attempt(
        operation="chat",
        path="",
        body={"model": "what the client wrote", "messages": HELLO, **body},
        raw=None,
        stream=stream,
        target=target,
        request_id="req-1",
        session=None,  # type: ignore[arg-type]
        max_output_tokens=route_limit,
    )
    return orjson.loads(body_of(attempt))


def config(**asked):
    return said(**asked).get("generationConfig")


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


def test_how_it_generates():
    assert config(
        temperature=1.7,
        top_p=0.9,
        top_k=40,
        n=2,
        max_completion_tokens=5,
        stop="END",
        presence_penalty=0.1,
        frequency_penalty=0.2,
        seed=7,
        logprobs=True,
        top_logprobs=3,
        modalities=["text", "image"],
        route_limit=9,
    ) == {
        "temperature": 1.7,
        "topP": 0.9,
        "topK": 40,
        "candidateCount": 2,
        "maxOutputTokens": 5,
        "stopSequences": ["END"],
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "seed": 7,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseModalities": ["TEXT", "IMAGE"],
    }
    assert config(route_limit=9, temperature=0) == {"maxOutputTokens": 9, "temperature": 0}


@pytest.mark.parametrize(
    ("asked", "thinking"),
    [
        ({"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ({"reasoning_effort": "medium"}, {"thinkingBudget": 8_192}),
        ({"reasoning_effort": "medium", "model": THIRD}, {"thinkingLevel": "medium"}),
        ({"reasoning_effort": "none", "model": THIRD}, {"thinkingLevel": "minimal"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, {"includeThoughts": True, "thinkingBudget": 2_000}),
        ({"thinking": {"type": "adaptive"}}, {"includeThoughts": True}),
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ({"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}}, {"include_thoughts": True}),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}, "reasoning_effort": "low"}, {"thinkingBudget": 5}),
    ],
)
def test_how_much_it_thinks(asked, thinking):
    assert config(**asked) == {"thinkingConfig": thinking}


def test_answers_in_json():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": {**schema, "additionalProperties": False}}}
    assert config(response_format=wanted) == {"responseMimeType": "application/json", "responseSchema": schema}
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format={"type": "text"}) is None


def test_the_rest():
    own = {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}], "cachedContent": "cachedContents/a"}
    more = {"user": "u", "metadata": {"a": "b"}, "store": True, "logit_bias": {}, "parallel_tool_calls": False, "service_tier": "auto"}
    assert said(**own, **more) == {"contents": HELLO_THERE, **own}
    assert said(extra_body={"google": {"cached_content": "c"}})["cachedContent"] == "c"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "email", "pattern": "x"}, {"type": "string", "pattern": "x"}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"nullable": True, "type": "integer"}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ({"enum": ["a", None]}, {"nullable": True, "type": "string", "enum": ["a"]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer"}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "integer", "exclusiveMinimum": 1, "multipleOf": 2}, {"type": "integer"}),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
            {"required": ["b"], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "type": "object"},
        ),
        (
            {
                "$ref": "#/$defs/N",
                "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}, "v": {"type": "number"}}}},
            },
            {"type": "object", "properties": {"next": {"type": "object"}, "v": {"type": "number"}}},
        ),
        ({"$ref": "#/nowhere"}, {}),
        (True, {}),
    ],
)
def test_a_schema_in_words_that_are_known(schema, expected):
    assert known(schema) == expected
    assert not [message for message in gemini_rules._schema(known(schema)) if "Unknown name" in message]


def test_embeddings():
    asked = {"input": ["a", "b"], "dimensions": 256, "taskType": "RETRIEVAL_QUERY", "encoding_format": "base64", "user": "u"}
    assert orjson.loads(embeddings.body_of(asked, "gemini-embedding-001")) == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 256,
                "taskType": "RETRIEVAL_QUERY",
            }
            for text in "ab"
        ]
    }
    assert len(orjson.loads(embeddings.body_of({"input": "a"}, "m"))["requests"]) == 1


@pytest.mark.parametrize("given", [[1, 2], None, {"text": "a"}, [["a"]]])
def test_what_is_no_text_is_not_embedded(given):
    with pytest.raises(UpstreamRefused) as refused:
        embeddings.body_of({"input": given}, "m")
    assert refused.value.param == "input"


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
