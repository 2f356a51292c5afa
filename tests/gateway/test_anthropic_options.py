"""What is asked of Claude beside the conversation: limits, sampling, thinking, structure, and whatever else a client says."""

from __future__ import annotations

import orjson
import pytest
from gateway.test_anthropic_request import ADAPTIVE, CLOCK, HELLO, HELLO_THERE, NEWEST, OLD, request, said

from apps.gateway.upstreams.anthropic.encode import ANSWER_TOOL, ONLY_JSON

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
HELD = {
    "type": "object",
    "properties": {"age": {"type": "integer", "description": "{minimum: 0}"}},
    "required": ["age"],
    "additionalProperties": False,
}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({"max_tokens": 5, "route_limit": 9}, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"route_limit": 9}, 9),
        ({"model": OLD}, 4_096),
        ({"model": "someone-elses"}, 4_096),
    ],
)
def test_an_answer_has_a_limit(asked, limit):
    assert said(**asked)["max_tokens"] == limit


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"temperature": 0.2, "top_p": 0.9, "model": OLD}, {"temperature": 0.2, "top_p": 0.9}),
        ({"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}),
        ({"top_p": 0.9, "top_k": 40}, {"top_p": 0.9, "top_k": 40}),
        ({"temperature": 0.2, "top_p": 0.9, "top_k": 40, "model": NEWEST}, {}),
        ({"temperature": 0.2, "top_p": 0.9, "top_k": 40, "reasoning_effort": "low"}, {"top_p": 0.95}),
        ({"temperature": 0.2, "model": ADAPTIVE}, {"temperature": 0.2}),
    ],
)
def test_how_tokens_are_drawn(asked, sampling):
    body = said(**asked)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == sampling


@pytest.mark.parametrize(
    ("asked", "thinking", "effort"),
    [
        ({"reasoning_effort": "none"}, None, None),
        ({"reasoning_effort": "low", "model": OLD}, None, None),
        ({"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 1_024}, None),
        ({"reasoning_effort": "high", "max_tokens": 10_000}, {"type": "enabled", "budget_tokens": 5_000}, None),
        ({"reasoning_effort": "high", "max_tokens": 1_000}, None, None),
        ({"reasoning_effort": "minimal", "model": ADAPTIVE}, {"type": "adaptive"}, "low"),
        ({"reasoning_effort": "xhigh", "model": ADAPTIVE}, {"type": "adaptive"}, "high"),
        ({"reasoning_effort": "xhigh", "model": NEWEST}, {"type": "adaptive"}, "xhigh"),
        ({"reasoning_effort": "low", "tools": [CLOCK], "tool_choice": "required"}, None, None),
        ({"reasoning_effort": "low", "tools": [CLOCK], "tool_choice": "required", "model": NEWEST}, None, "low"),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, {"type": "adaptive", "display": "summarized"}, None),
    ],
)
def test_how_much_it_thinks(asked, thinking, effort):
    body = said(**asked)
    assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == (thinking, effort)


def test_thinking_takes_nothing_from_an_answer_that_has_no_limit():
    assert said(reasoning_effort="high")["max_tokens"] == 16_384 + 16_384
    assert said(thinking={"type": "enabled", "budget_tokens": 20_000})["max_tokens"] == 36_384


def test_thinking_stays_within_the_routes_limit():
    body = said(reasoning_effort="high", route_limit=4_000)
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (4_000, 2_000)


@pytest.mark.parametrize(
    ("asked", "limit", "budget"),
    [
        ({"model": "claude-opus-4-1", "reasoning_effort": "high"}, 32_000, 16_000),
        ({"model": "claude-opus-4-20250514", "reasoning_effort": "xhigh"}, 32_000, 16_000),
        ({"model": "claude-sonnet-4-20250514", "reasoning_effort": "high"}, 32_768, 16_384),
        ({"model": "claude-opus-4-1", "reasoning_effort": "high", "max_tokens": 100_000}, 32_000, 16_000),
        ({"model": "claude-opus-4-1", "thinking": {"type": "enabled", "budget_tokens": 30_000}}, 32_000, 30_000),
        ({"model": OLD, "max_completion_tokens": 16_000}, 8_192, None),
        ({"model": NEWEST, "max_tokens": 200_000}, 128_000, None),
        ({"model": "someone-elses", "max_tokens": 200_000}, 200_000, None),
    ],
)
def test_no_limit_is_beyond_the_model(asked, limit, budget):
    body = said(**asked)
    assert (body["max_tokens"], body.get("thinking", {}).get("budget_tokens")) == (limit, budget)


def test_who_lost_its_thoughts_does_not_go_on_thinking():
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    loop = [*HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "12"}]
    assert "thinking" not in said(messages=loop, tools=[CLOCK], reasoning_effort="low")
    assert "thinking" in said(messages=[*loop, {"role": "assistant", "content": "12"}, *HELLO], tools=[CLOCK], reasoning_effort="low")
    loop[1]["thinking_blocks"] = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]
    assert "thinking" in said(messages=loop, tools=[CLOCK], reasoning_effort="low")


def test_features_that_are_tried_out_are_asked_for_in_a_header():
    asked = request(betas=["one-2025", "two"])
    assert asked.betas == "one-2025,two"
    assert "betas" not in orjson.loads(asked.body)


def test_an_answer_by_a_schema():
    asked = request(response_format=AS_JSON)
    assert orjson.loads(asked.body)["output_config"] == {"format": {"type": "json_schema", "schema": HELD}}
    assert not asked.answers_by_tool


def test_a_strict_tool_is_held_to_what_anthropic_can_hold_it_to():
    tool = {"type": "function", "function": {"name": "person", "parameters": SCHEMA, "strict": True}}
    assert said(tools=[tool])["tools"] == [{"name": "person", "input_schema": HELD, "strict": True}]
    assert said(tools=[tool], model=OLD)["tools"] == [{"name": "person", "input_schema": SCHEMA}]


def test_an_older_model_answers_by_a_tool():
    asked = request(response_format=AS_JSON, model=OLD)
    body = orjson.loads(asked.body)
    assert asked.answers_by_tool
    assert [(tool["name"], tool["input_schema"]) for tool in body["tools"]] == [(ANSWER_TOOL, SCHEMA)]
    assert body["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}
    assert said(response_format=AS_JSON, model=OLD, tools=[CLOCK])["tool_choice"] == {"type": "any"}


def test_an_answer_in_any_json():
    assert said(response_format={"type": "json_object"})["system"] == [{"type": "text", "text": ONLY_JSON}]
    assert "system" not in said(response_format={"type": "text"})


def test_the_rest():
    body = said(
        stop="END",
        user="u-1",
        service_tier="default",
        n=1,
        seed=7,
        logprobs=True,
        presence_penalty=1,
        frequency_penalty=1,
        logit_bias={"1": 2},
        modalities=["text"],
        store=False,
        metadata={"tenant": "x"},
        reasoning_effort="low",
        model=NEWEST,
        container="c_1",
        output_config={"effort": "max"},
        cache_control={"type": "ephemeral"},
    )
    assert body == {
        "model": NEWEST,
        "max_tokens": 16_384,
        "messages": HELLO_THERE,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "service_tier": "standard_only",
        "thinking": {"type": "adaptive"},
        "container": "c_1",
        "output_config": {"effort": "max"},
        "cache_control": {"type": "ephemeral"},
    }
    assert said(stop=["a", "b"], metadata={"user_id": "m"}, user="u")["stop_sequences"] == ["a", "b"]
    assert said(metadata={"user_id": "m"}, user="u")["metadata"] == {"user_id": "m"}
