"""OpenAI's official client against models that do not speak its wire: sync and async, streams, tools, thinking, structure, errors."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest
from assistants.conftest import Company
from pydantic import BaseModel

from peers import claude, claude_rules, gemini, gemini_rules
from peers.script import TEXT

QUESTION = [{"role": "user", "content": "What is a menhir?"}]
PLACE = {"type": "object", "properties": {"place": {"type": "string"}, "kind": {"$ref": "#/$defs/k"}}, "$defs": {"k": {"enum": ["a", "b"]}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {**PLACE, "additionalProperties": False}}}
    for name in ("clock", "weather")
]
KINDS = ["anthropic", "gemini"]
SMART = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-pro"}
"""A model that keeps to schemas and signs what it thinks."""


class Answer(BaseModel):
    answer: str


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ask(acmes: Company, kind: str):
    """The method `create` of a client whose model leads to this kind."""

    def to(orders: str = "", model: str = "fake"):
        client = acmes.client("inference")
        name = acmes.model(f"{kind}-{model}", orders, kind=kind, upstream_model=model)
        return lambda **asked: client.chat.completions.create(**{"model": name, "messages": QUESTION, **asked})

    return to


def test_a_whole_answer(ask, kind: str, acmes: Company):
    answer = ask("cached=5")()
    assert answer.choices[0].message.content.strip() == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.cached_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert acmes.upstream.stats.headers[-1][{"anthropic": "x-api-key", "gemini": "x-goog-api-key"}[kind]] == "sk-upstream"
    assert "authorization" not in acmes.upstream.stats.headers[-1]


@pytest.mark.parametrize("orders", ["", "split=3", "crlf=1&comments=2"])
def test_a_stream(ask, orders: str):
    chunks = list(ask(orders)(stream=True, stream_options={"include_usage": True}))
    usage = chunks.pop()
    assert usage.choices == []
    assert usage.usage.completion_tokens > 0
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip() == TEXT
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_keeps_usage_from_who_did_not_ask(ask):
    assert all(chunk.usage is None and chunk.choices for chunk in ask()(stream=True))


async def test_the_async_client(acmes: Company, kind: str):
    name = await asyncio.to_thread(acmes.model, "there", kind=kind)
    client = await asyncio.to_thread(acmes.async_client, "inference")
    whole = await client.chat.completions.create(model=name, messages=QUESTION)
    stream = await client.chat.completions.create(model=name, messages=QUESTION, stream=True)
    assert whole.choices[0].message.content == "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_parallel_tools_in_a_stream(acmes: Company, kind: str):
    name = acmes.model("tools", "calls=2", kind=kind)
    with acmes.client("inference").chat.completions.stream(model=name, messages=QUESTION, tools=TOOLS) as stream:
        choice = stream.get_final_completion().choices[0]
    arguments = {"anthropic": claude, "gemini": gemini}[kind].ARGUMENTS
    calls = choice.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("clock", {**arguments, "number": 0}),
        ("weather", {**arguments, "number": 1}),
    ]
    assert choice.finish_reason == "tool_calls"
    assert len({call.id for call in calls}) == 2


def test_which_tool_must_be_called(ask):
    forced = ask()(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}}).choices[0].message
    assert [call.function.name for call in forced.tool_calls] == ["weather"]
    assert ask("calls=0", "any")(tools=TOOLS, tool_choice="required").choices[0].message.tool_calls
    assert ask("calls=2", "none")(tools=TOOLS, tool_choice="none").choices[0].message.tool_calls is None


def test_one_tool_at_a_time(acmes: Company):
    name = acmes.model("single", "calls=2", kind="anthropic")
    answer = acmes.client("inference").chat.completions.create(model=name, messages=QUESTION, tools=TOOLS, parallel_tool_calls=False)
    assert len(answer.choices[0].message.tool_calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_of_tools_keeps_signed_thoughts(acmes: Company, kind: str, *, stream: bool):
    """The peers check what they signed: a thought that came back changed, or not at all, would be refused."""
    name = acmes.model("loop", "calls=2&thinks=1", kind=kind, upstream_model=SMART[kind])
    client = acmes.client("inference")
    asked = {"model": name, "tools": TOOLS, "reasoning_effort": "low"}
    if stream:
        with client.chat.completions.stream(messages=QUESTION, **asked) as events:
            said = events.get_final_completion().choices[0].message
    else:
        said = client.chat.completions.create(messages=QUESTION, **asked).choices[0].message
    assert said.model_extra["reasoning_content"] == {"anthropic": claude, "gemini": gemini}[kind].THOUGHT
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"} for call in said.tool_calls]
    back = said.model_dump(exclude_none=True)
    end = client.chat.completions.create(messages=[*QUESTION, back, *results], **asked).choices[0]
    assert end.finish_reason == "stop"
    sent = json.dumps(acmes.upstream.stats.bodies[-1])
    assert (claude_rules.signature(claude.THOUGHT) if kind == "anthropic" else gemini_rules.SIGNATURE) in sent


def test_a_client_that_forgets_thoughts_can_go_on(acmes: Company, kind: str):
    name = acmes.model("forgetful", "calls=1&thinks=1", kind=kind, upstream_model=SMART[kind])
    call = {"id": "call:1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    loop = [*QUESTION, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call:1", "content": "12"}]
    create = acmes.client("inference").chat.completions.create
    assert create(model=name, messages=loop, tools=TOOLS, reasoning_effort="high").choices[0].finish_reason == "stop"


def test_a_structured_answer(acmes: Company, kind: str):
    name = acmes.model("structured", kind=kind, upstream_model=SMART[kind])
    parsed = acmes.client("inference").chat.completions.parse(model=name, messages=QUESTION, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(answer="a standing stone")


def test_an_older_model_answers_a_schema_by_a_tool_that_nobody_sees(acmes: Company):
    name = acmes.model("old", kind="anthropic", upstream_model="claude-3-5-haiku")
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": Answer.model_json_schema()}}
    asked = {"model": name, "messages": QUESTION, "response_format": wanted}
    client = acmes.client("inference")
    whole = client.chat.completions.create(**asked).choices[0]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True))
    assert json.loads(whole.message.content) == json.loads(streamed) == {**claude.ARGUMENTS, "number": 0}
    assert (whole.finish_reason, whole.message.tool_calls) == ("stop", None)


def test_several_choices(acmes: Company):
    several = acmes.model("several", kind="gemini")
    client = acmes.client("inference")
    assert [choice.index for choice in client.chat.completions.create(model=several, messages=QUESTION, n=2).choices] == [0, 1]
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(model=several, messages=QUESTION, n=2, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert {text.strip() for text in texts.values()} == {TEXT}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=acmes.model("one", kind="anthropic"), messages=QUESTION, n=2)
    assert refused.value.param == "n"


def test_probabilities(acmes: Company):
    name = acmes.model("likely", kind="gemini")
    answer = acmes.client("inference").chat.completions.create(model=name, messages=QUESTION, logprobs=True, top_logprobs=1)
    assert answer.choices[0].logprobs.content[0].logprob == -0.5


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings(acmes: Company, form: str):
    name = acmes.model("vectors", kind="gemini")
    answer = acmes.client("inference").embeddings.create(model=name, input=["a", "b", "a"], dimensions=16, encoding_format=form)
    assert [item.index for item in answer.data] == [0, 1, 2]
    if form == "float":
        assert answer.data[0].embedding == answer.data[2].embedding != answer.data[1].embedding
        assert len(answer.data[0].embedding) == 16
    with pytest.raises(openai.BadRequestError):
        acmes.client("inference").embeddings.create(model=acmes.model("no-vectors", kind="anthropic"), input="a")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "status"),
    [
        ("status=500", 503),
        ("status=429&retry_after=9", 429),
        ("status=529", 503),
        ("status=401", 503),
        ("status=400", 400),
        ("error=0", 503),
    ],
)
def test_an_upstream_that_refuses(ask, orders: str, status: int, *, stream: bool):
    with pytest.raises(openai.APIStatusError) as refused:
        ask(orders)(stream=stream)
    assert refused.value.status_code == status
    assert refused.value.type == "upstream_error"
    assert orders != "status=401" or "sk-secret" not in str(refused.value.body)


def test_a_prompt_that_is_too_long_has_openais_code(ask, kind: str):
    says = {"anthropic": "prompt is too long: 9 tokens > 8 maximum", "gemini": "The input token count (9) exceeds the maximum"}[kind]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(f"status=400&says={says}")()
    assert refused.value.code == "context_length_exceeded"


def test_a_stream_that_is_cut_is_an_error(ask):
    stream = ask("chunks=10&cut=6")(stream=True)
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert broken.value.type == "upstream_error"


def test_a_client_that_hangs_up_takes_the_upstream_with_it(acmes: Company, ask):
    stream = ask("chunks=2000&gap_ms=20")(stream=True)
    next(iter(stream))
    stream.response.close()
    assert acmes.upstream.wait(lambda stats: len(stats.cancelled) == 1, seconds=1.0)


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_client_keeps_signed_thoughts_through_both_translations(acmes: Company, kind: str, *, stream: bool):
    name = acmes.model("messages", "calls=2&thinks=1", kind=kind, upstream_model=SMART[kind])
    client = anthropic.Anthropic(base_url=acmes.server.base_url, api_key=acmes.person.key("inference"), max_retries=0)
    tools = [{"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in TOOLS]
    asked = {"model": name, "max_tokens": 4000, "tools": tools, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    if stream:
        with client.messages.stream(messages=QUESTION, **asked) as events:
            said = events.get_final_message()
    else:
        said = client.messages.create(messages=QUESTION, **asked)
    calls = [block for block in said.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["clock", "weather"]
    assert said.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "12"} for call in calls]
    end = client.messages.create(
        messages=[*QUESTION, {"role": "assistant", "content": said.content}, {"role": "user", "content": results}], **asked
    )
    assert end.stop_reason == "end_turn"
    assert end.content[-1].text.strip() == TEXT
