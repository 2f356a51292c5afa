"""OpenAI's own client on `/v1/responses`: whole, streamed, with tools, in conversation, over a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from assistants.conftest import Company
from pydantic import BaseModel

from peers.actor import Actor, call, more
from peers.script import TEXT

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"], "additionalProperties": False},
    "strict": True,
}


def kinds(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


def test_a_whole_response(acmes: Company):
    response = acmes.client("inference").responses.create(
        model="plain", input="What is a menhir?", instructions="Be brief.", temperature=0.5
    )
    assert response.output_text.strip() == TEXT
    assert response.id.startswith("resp_")
    assert response.status == "completed"
    assert response.completed_at >= response.created_at
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert (response.instructions, response.temperature, response.tool_choice, response.tools) == ("Be brief.", 0.5, "auto", [])
    assert response.output[0].id.startswith("msg_")
    sent = acmes.upstream.stats.bodies[-1]
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a menhir?"}]
    assert sent == {"model": "fake", "messages": asked, "temperature": 0.5}


def test_a_stream(acmes: Company):
    events = list(acmes.client("inference").responses.create(model="plain", input="What is a menhir?", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    told = kinds(events)
    assert told[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert told[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(told[4:-4]) == {"output_text.delta"}
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta").strip() == TEXT
    last = events[-1].response
    assert {event.response.id for event in events if hasattr(event, "response")} == {last.id}
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {last.output[0].id}
    assert last.usage.output_tokens > 0
    assert last.output_text.strip() == TEXT


def test_the_clients_own_stream_helper(acmes: Company):
    with acmes.client("inference").responses.stream(model="plain", input="What is a menhir?") as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert snapshots[-1] == response.output_text
    assert response.output_text.strip() == TEXT


async def test_the_async_client(acmes: Company):
    client = await asyncio.to_thread(acmes.async_client, "inference")
    whole = await client.responses.create(model="plain", input="What is a menhir?")
    async with client.responses.stream(model="plain", input="What is a menhir?") as stream:
        streamed = await stream.get_final_response()
    assert whole.output_text == streamed.output_text
    assert (await client.responses.retrieve(streamed.id)).output_text == streamed.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_tools_in_a_loop(acmes: Company, actor: Actor, *, stream: bool):
    actor.plays(
        [{"content": "Let me look."}, call("weather", '{"town": '), more('"Carnac"}'), call("weather", "{}", number=1, call_id="c2")],
        finish="tool_calls",
    )
    actor.plays([{"content": "It rains."}])
    client = acmes.client("inference")

    def ask(**asked: Any) -> Any:
        if not stream:
            return client.responses.create(model="actor", tools=[WEATHER], **asked)
        with client.responses.stream(model="actor", tools=[WEATHER], **asked) as events:
            return events.get_final_response()

    first = ask(input="How is the weather in Carnac?", tool_choice={"type": "function", "name": "weather"}, parallel_tool_calls=True)
    text, one, other = first.output
    assert (text.type, one.type, other.type) == ("message", "function_call", "function_call")
    assert (one.name, one.arguments, one.call_id, one.status) == ("weather", '{"town": "Carnac"}', "call_weather", "completed")
    assert first.status == "completed"
    results = [{"type": "function_call_output", "call_id": item.call_id, "output": "rain"} for item in (one, other)]
    last = ask(input=results, previous_response_id=first.id)
    assert last.output_text == "It rains."
    assert last.previous_response_id == first.id
    function = {name: value for name, value in WEATHER.items() if name != "type"}
    asked, again = actor.stats.bodies
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert again["messages"] == [
        {"role": "user", "content": "How is the weather in Carnac?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "call_weather", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Carnac"}'}},
                {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_weather", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "rain"},
    ]


def test_the_events_of_a_function_call(acmes: Company, actor: Actor):
    actor.plays([call("weather", ""), more('{"town"'), more(': "Carnac"}')], finish="tool_calls")
    events = list(acmes.client("inference").responses.create(model="actor", input="?", tools=[WEATHER], stream=True))
    name = "function_call_arguments"
    assert kinds(events)[2:] == ["output_item.added", f"{name}.delta", f"{name}.delta", f"{name}.done", "output_item.done", "completed"]
    assert events[2].item.arguments == ""
    assert events[5].arguments == events[6].item.arguments == '{"town": "Carnac"}'


@pytest.mark.parametrize(
    ("asked", "name", "where"),
    [({}, "reasoning_text", "content"), ({"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning_summary_text", "summary")],
)
def test_thoughts_come_before_the_text(acmes: Company, actor: Actor, asked: dict[str, Any], name: str, where: str):
    actor.plays([{"reasoning_content": "Stone, "}, {"reasoning_content": "old."}, {"content": "A stone."}])
    client = acmes.client("inference")
    events = list(client.responses.create(model="actor", input="?", stream=True, **asked))
    assert [event.delta for event in events if event.type == f"response.{name}.delta"] == ["Stone, ", "old."]
    thought, text = events[-1].response.output
    assert [part.text for part in getattr(thought, where)] == ["Stone, old."]
    assert (thought.type, text.content[0].text) == ("reasoning", "A stone.")
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens == 2
    assert actor.stats.bodies[-1].get("reasoning_effort") == asked.get("reasoning", {}).get("effort")
    going_on = client.responses.create(model="actor", input="Go on", previous_response_id=events[-1].response.id)
    assert going_on.status == "completed"
    assert [message["role"] for message in actor.stats.bodies[-1]["messages"]] == ["user", "assistant", "user"]


def test_a_refusal(acmes: Company, actor: Actor):
    actor.plays([{"refusal": "I will "}, {"refusal": "not."}])
    client = acmes.client("inference")
    events = list(client.responses.create(model="actor", input="?", stream=True))
    assert kinds(events)[4:6] == ["refusal.delta", "refusal.delta"]
    assert client.responses.create(model="actor", input="?").output[0].content[0].refusal == "I will not."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_ends_too_early_is_incomplete(acmes: Company, actor: Actor, finish: str, reason: str, *, stream: bool):
    actor.plays([{"content": "A sto"}], finish=finish)
    client = acmes.client("inference")
    if stream:
        events = list(client.responses.create(model="actor", input="?", max_output_tokens=2, stream=True))
        assert events[-1].type == "response.incomplete"
        response = events[-1].response
    else:
        response = client.responses.create(model="actor", input="?", max_output_tokens=2)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
    assert response.output[0].status == "incomplete"
    assert actor.stats.bodies[-1]["max_tokens"] == 2
    assert client.responses.retrieve(response.id).status == "incomplete"


class Stone(BaseModel):
    name: str
    height: float


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(acmes: Company, actor: Actor, *, stream: bool):
    actor.plays([{"content": '{"name": "Kerloas",'}, {"content": ' "height": 9.5}'}])
    client = acmes.client("inference")
    if stream:
        with client.responses.stream(model="actor", input="?", text_format=Stone) as events:
            response = events.get_final_response()
    else:
        response = client.responses.parse(model="actor", input="?", text_format=Stone)
    assert response.output_parsed == Stone(name="Kerloas", height=9.5)
    asked = actor.stats.bodies[-1]["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == ("json_schema", "Stone", True)
    assert response.text.format.type == "json_schema"


def test_probabilities(acmes: Company, actor: Actor):
    token = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": [{"token": "A", "logprob": -0.1, "bytes": [65]}]}
    actor.plays([{"content": "A"}], logprobs=[token])
    client = acmes.client("inference")
    asked: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    response = client.responses.create(model="actor", input="?", **asked)
    assert response.output[0].content[0].logprobs[0].top_logprobs[0].token == "A"
    assert (actor.stats.bodies[-1]["logprobs"], actor.stats.bodies[-1]["top_logprobs"]) == (True, 1)
    events = list(client.responses.create(model="actor", input="?", stream=True, **asked))
    assert events[4].logprobs[0].token == "A"


def test_citations_of_an_upstream(acmes: Company, actor: Actor):
    note = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 5, "title": "Menhir", "url": "https://example.com"}}
    actor.plays([{"content": "Stone", "annotations": [note]}])
    client = acmes.client("inference")
    events = list(client.responses.create(model="actor", input="?", stream=True))
    assert "output_text.annotation.added" in kinds(events)
    for response in (events[-1].response, client.responses.create(model="actor", input="?")):
        (shown,) = response.output[0].content[0].annotations
        assert (shown.type, shown.url, shown.end_index) == ("url_citation", "https://example.com", 5)


def test_what_neither_wire_knows_is_passed_on(acmes: Company):
    acmes.client("inference").responses.create(
        model="plain",
        input="?",
        text={"verbosity": "low"},
        user="u1",
        safety_identifier="s1",
        service_tier="auto",
        prompt_cache_key="k",
        metadata={"a": "b"},
        truncation="auto",
        extra_body={"seed": 7, "x-unheard-of": [1.0, None]},
    )
    sent = acmes.upstream.stats.bodies[-1]
    passed = {"verbosity": "low", "user": "u1", "safety_identifier": "s1", "service_tier": "auto", "prompt_cache_key": "k"}
    assert sent == {"model": "fake", "messages": [{"role": "user", "content": "?"}], "seed": 7, "x-unheard-of": [1.0, None], **passed}


def test_images_files_and_sound(acmes: Company):
    content = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    acmes.client("inference").responses.create(model="plain", input=[{"role": "user", "content": content}])
    assert acmes.upstream.stats.bodies[-1]["messages"][0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [WEATHER, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]}, "input[0].content[0].file_id"),
        ({"input": [{"role": "nobody", "content": "?"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"model": ""}, "model"),
        ({"prompt": {"id": "nothing"}}, "prompt.id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {"a": 1}}, "metadata"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(acmes: Company, asked: dict[str, Any], param: str):
    with pytest.raises(openai.APIStatusError) as refused:
        acmes.client("inference").responses.create(**{"model": "plain", "input": "?", **asked})
    assert refused.value.status_code in {400, 404}
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert not acmes.upstream.stats.requests


def test_a_stream_that_is_cut_has_failed(acmes: Company):
    acmes.model("cut", "chunks=10&cut=3")
    events = list(acmes.client("inference").responses.create(model="cut", input="?", stream=True))
    assert kinds(events)[-1] == "failed"
    assert not {"completed", "output_item.done", "output_text.done"} & set(kinds(events))
    response = events[-1].response
    assert (response.status, response.error.code, response.error.type) == ("failed", "server_error", "upstream_error")
    assert len(response.output_text.split()) == 3
    assert response.output[0].status == "incomplete"
    with pytest.raises(openai.NotFoundError):
        acmes.client("inference").responses.retrieve(response.id)


def test_an_error_inside_a_stream_has_failed(acmes: Company):
    acmes.model("error", "chunks=10&error=3")
    events = list(acmes.client("inference").responses.create(model="error", input="?", stream=True))
    assert (kinds(events)[-1], events[-1].response.error.message) == ("failed", "the model fell over")


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_refuses(acmes: Company, *, stream: bool):
    acmes.model("refusing", "status=400")
    with pytest.raises(openai.BadRequestError) as refused:
        acmes.client("inference").responses.create(model="refusing", input="?", stream=stream)
    assert refused.value.type == "upstream_error"
    assert refused.value.request_id


def test_without_a_key_nobody_is_let_in(acmes: Company):
    client = acmes.client(key="mh_live_wrong")
    for ask in (lambda: client.responses.create(model="plain", input="?"), lambda: client.responses.retrieve("resp_1")):
        with pytest.raises(openai.AuthenticationError):
            ask()
    with pytest.raises(openai.PermissionDeniedError):
        acmes.client("usage:read").responses.create(model="plain", input="?")


def test_an_assistant_answers_with_its_passages(acmes: Company):
    stones = acmes.learn("stones", menhir="A menhir is one standing stone. The tallest that still stands is Kerloas, 9.5 metres high.")
    prompt = acmes.prompt("guide", "You know stones.")
    acmes.assistant("guide", prompt, acmes.extract(), collections=[stones])
    client = acmes.client("inference")
    whole = client.responses.create(model="assistant:guide", input="How high is Kerloas?")
    events = list(client.responses.create(model="assistant:guide", input="How high is Kerloas?", stream=True))
    for response in (whole, events[0].response, events[-1].response, client.responses.retrieve(whole.id)):
        assert response.model_extra["menhir"]["passages"][0]["title"] == "Menhir"
    assert "[1]" in whole.output_text
    assert events[-1].response.output_text == whole.output_text


def test_a_managed_prompt_speaks_first(acmes: Company):
    acmes.prompt("greeting", "Greet {{ name }} in {{ language }}.")
    variables = {"name": "Ada", "language": {"type": "input_text", "text": "French"}}
    response = acmes.client("inference").responses.create(model="plain", prompt={"id": "greeting", "variables": variables})
    assert response.prompt.id == "greeting"
    assert acmes.upstream.stats.bodies[-1]["messages"] == [{"role": "system", "content": "Greet Ada in French."}]
    with pytest.raises(openai.BadRequestError) as refused:
        acmes.client("inference").responses.create(model="plain", prompt={"id": "greeting", "variables": {"name": "Ada"}}, input="?")
    assert refused.value.param == "prompt.variables.language"
