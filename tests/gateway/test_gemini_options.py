"""What is asked of Gemini beside the conversation: how it generates, thinks and structures, embeddings, and whatever else a client says."""

from __future__ import annotations

import orjson
import pytest
from gateway.test_gemini_request import HELLO_THERE, THIRD, said

from apps.gateway.errors import UpstreamRefused, UpstreamUnfit
from apps.gateway.upstreams.gemini import embeddings
from apps.gateway.upstreams.gemini.schemas import known

from peers import gemini_rules

PRO = "gemini-2.5-pro"


def config(**asked):
    return said(**asked).get("generationConfig")


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
        ({"thinking": {"type": "adaptive"}, "reasoning_effort": "low"}, {"includeThoughts": True, "thinkingBudget": 1_024}),
        ({"thinking": {"type": "adaptive"}, "reasoning_effort": "low", "model": THIRD}, {"includeThoughts": True, "thinkingLevel": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 63_999}}, {"includeThoughts": True, "thinkingBudget": 24_576}),
        ({"thinking": {"type": "enabled", "budget_tokens": 63_999}, "model": PRO}, {"includeThoughts": True, "thinkingBudget": 32_768}),
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ({"thinking": {"type": "disabled"}, "model": PRO}, {"thinkingBudget": 128}),
        ({"thinking": {"type": "disabled"}, "model": THIRD}, {"thinkingLevel": "low"}),
        ({"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}}, {"include_thoughts": True}),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}, "reasoning_effort": "low"}, {"thinkingBudget": 5}),
    ],
)
def test_how_much_it_thinks(asked, thinking):
    assert config(**asked) == {"thinkingConfig": thinking}


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "models/gemini-1.5-pro", "gemma-3-27b-it"])
@pytest.mark.parametrize("asked", [{"reasoning_effort": "high"}, {"thinking": {"type": "enabled", "budget_tokens": 2_000}}])
def test_who_does_not_think_is_not_told_to(model, asked):
    assert config(model=model, **asked) is None


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


def nested(levels: int) -> dict:
    """A schema whose definitions each refer eight times to the next."""
    definitions = {
        f"d{level}": {"type": "object", "properties": {f"p{n}": {"$ref": f"#/$defs/d{level + 1}"} for n in range(8)}}
        for level in range(levels)
    }
    return {"$defs": {**definitions, f"d{levels}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def choosing(levels: int) -> dict:
    """A schema that is one of two things, on every level."""
    return {"type": ["array", "string"], "items": choosing(levels - 1)} if levels else {"type": "string"}


@pytest.mark.parametrize("schema", [nested(15), choosing(30)])
def test_a_schema_that_would_not_end_is_refused(schema):
    assert len(orjson.dumps(schema)) < 8_000
    with pytest.raises(UpstreamUnfit, match="references"):
        said(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


def test_the_schemas_of_one_request_are_written_out_together():
    tool = {"type": "function", "function": {"name": "f", "parameters": nested(2)}}
    assert said(tools=[tool])["tools"][0]["functionDeclarations"][0]["parameters"]["properties"]["p7"]["properties"]["p7"] == {
        "type": "string"
    }
    with pytest.raises(UpstreamUnfit):
        said(tools=[tool] * 100)


def test_embeddings():
    asked = {"input": ["a", "b"], "dimensions": 256, "taskType": "RETRIEVAL_QUERY", "encoding_format": "base64", "user": "u"}
    [body] = embeddings.bodies_of(asked, "gemini-embedding-001")
    assert orjson.loads(body) == {
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
    assert [len(orjson.loads(body)["requests"]) for body in embeddings.bodies_of({"input": "a"}, "m")] == [1]
    assert [len(orjson.loads(body)["requests"]) for body in embeddings.bodies_of({"input": ["a"] * 250}, "m")] == [100, 100, 50]


@pytest.mark.parametrize("given", [[1, 2], None, {"text": "a"}, [["a"]]])
def test_what_is_no_text_is_not_embedded(given):
    with pytest.raises(UpstreamRefused) as refused:
        embeddings.bodies_of({"input": given}, "m")
    assert refused.value.param == "input"


@pytest.mark.parametrize("word", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("limit", ["maxOutputTokens", "max_output_tokens"])
@pytest.mark.parametrize("count", ["candidateCount", "candidate_count"])
@pytest.mark.parametrize("most", [65_536, "65536", 65_536.0])
def test_geminis_own_words_do_not_lift_what_a_call_is_held_to(word, limit, count, most):
    assert config(max_tokens=1, **{word: {limit: most, count: 8, "topK": 3}}) == {"maxOutputTokens": 1, "topK": 3}


def test_geminis_own_limit_stands_where_it_is_the_shorter_or_the_only_one():
    assert config(max_tokens=9, generationConfig={"maxOutputTokens": 5}) == {"maxOutputTokens": 5}
    assert config(generationConfig={"maxOutputTokens": 5}) == {"maxOutputTokens": 5}
    assert config(n=2, generationConfig={"candidateCount": 8}) == {"candidateCount": 2}
