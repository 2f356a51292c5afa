"""All of `/v1/chat/completions`: what a client asks reaches the model as it was asked, and what it answers comes back whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from assistants.conftest import Company, calls_of
from pydantic import BaseModel

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.said import SOUND
from peers.script import TEXT

QUESTION = [{"role": "user", "content": "What is a menhir?"}]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "news")]


class Stone(BaseModel):
    name: str


@pytest.mark.parametrize("orders", ["calls=3", "calls=3&interleave=1", "calls=2&chunks=3&split=5"])
def test_tools_are_called_side_by_side(acmes: Company, orders: str):
    acmes.model("calling", orders)
    client = acmes.client("inference").chat.completions
    asked: dict[str, Any] = {
        "model": "calling",
        "messages": QUESTION,
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": True,
    }
    whole = client.create(**asked).choices[0]
    with client.stream(**asked) as stream:
        told = stream.get_final_completion().choices[0]
    assert whole.finish_reason == told.finish_reason == "tool_calls"
    wanted = [(f"call_{n}", TOOLS[n % 2]["function"]["name"], {"city": f"Carnac {n}", "deep": {"a": [n]}}) for n in range(int(orders[6]))]
    for choice in (whole, told):
        calls = choice.message.tool_calls
        assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == wanted
    assert {name: acmes.upstream.stats.bodies[-1][name] for name in asked if name != "model"} == {
        n: v for n, v in asked.items() if n != "model"
    }


def test_the_results_of_tools_go_back(acmes: Company):
    messages = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    acmes.client("inference").chat.completions.create(model="plain", messages=messages, tools=TOOLS)
    assert acmes.upstream.stats.bodies[-1]["messages"] == messages


def test_several_choices_with_probabilities(acmes: Company):
    client = acmes.client("inference").chat.completions
    asked: dict[str, Any] = {"model": "plain", "messages": QUESTION, "n": 3, "logprobs": True, "top_logprobs": 2}
    answer = client.create(**asked)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts, tokens = ["", "", ""], ["", "", ""]
    for chunk in client.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += "".join(token.token for token in choice.logprobs.content) if choice.logprobs else ""
    assert texts == tokens == [choice.message.content for choice in answer.choices]
    for choice in answer.choices:
        assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
        assert len(choice.logprobs.content[0].top_logprobs) == 2


PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
]


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_sound_and_files_travel_untouched(acmes: Company, *, stream: bool):
    sound = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    answer = acmes.client("inference").chat.completions.create(
        model="plain", messages=[{"role": "user", "content": PARTS}], stream=stream, **sound
    )
    if stream:
        assert list(answer)
    sent = acmes.upstream.stats.bodies[-1]
    assert sent["messages"][0]["content"] == PARTS
    assert {name: sent[name] for name in sound} == sound


def test_formats_of_the_answer_are_asked_for(acmes: Company):
    client = acmes.client("inference").chat.completions
    client.create(model="plain", messages=QUESTION, response_format={"type": "json_object"})
    assert acmes.upstream.stats.bodies[-1]["response_format"] == {"type": "json_object"}
    with pytest.raises(ValueError, match="JSON"):  # the peer answers in prose: the client notices, and it was asked for a schema
        client.parse(model="plain", messages=QUESTION, response_format=Stone)
    assert acmes.upstream.stats.bodies[-1]["response_format"]["json_schema"]["name"] == "Stone"


def test_whatever_else_is_said_is_passed_on(acmes: Company):
    more = {
        "reasoning_effort": "low",
        "seed": 1,
        "service_tier": "flex",
        "prediction": {"type": "content", "content": "a"},
        "verbosity": "low",
    }
    acmes.client("inference").chat.completions.create(
        model="plain", messages=QUESTION, extra_body={**more, "web_search_options": {}, "new": [1]}
    )
    assert acmes.upstream.stats.bodies[-1] == {"model": "fake", "messages": QUESTION, **more, "web_search_options": {}, "new": [1]}


def test_a_key_may_also_stand_where_anthropics_clients_put_it(acmes: Company):
    from assistants.test_admission import ask

    key = acmes.person.key("inference")
    body = {"model": "plain", "messages": QUESTION}
    assert ask(acmes, "POST", "/v1/chat/completions", body, **{"x-api-key": key})[0] == 200
    assert ask(acmes, "POST", "/v1/chat/completions", body, **{"x-api-key": "sk-wrong"})[0] == 401
    # Who says both is known by the one that all clients send.
    assert ask(acmes, "POST", "/v1/chat/completions", body, key="sk-wrong", **{"x-api-key": key})[0] == 401
    assert len(calls_of(acmes)) == 1


def test_an_answer_that_is_spoken(acmes: Company):
    """Sound and what is heard in it come through untouched, whole and in pieces."""
    acmes.model("speaking", "speaks=1")
    asked = {
        "model": "speaking",
        "messages": [{"role": "user", "content": "Say it."}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
    }
    client = acmes.client("inference").chat.completions
    message = client.create(**asked).choices[0].message
    assert (message.content, message.audio.data, message.audio.expires_at) == (None, SOUND, 1_900_000_000)
    assert message.audio.transcript.strip() == TEXT
    pieces = [chunk.choices[0].delta.to_dict().get("audio", {}) for chunk in client.create(**asked, stream=True) if chunk.choices]
    assert "".join(piece.get("transcript", "") for piece in pieces).strip() == TEXT
    assert [piece["data"] for piece in pieces if "data" in piece] == [SOUND]
    assert [piece["expires_at"] for piece in pieces if "expires_at" in piece] == [1_900_000_000]
    rows = calls_of(acmes)
    assert [(row["outcome"], row["usage_source"]) for row in rows] == [("completed", "upstream")] * 2
    assert all(row["first_token_ms"] is None or row["first_token_ms"] >= 0 for row in rows)


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_whose_key_is_in_a_header_of_its_own(acmes: Company, *, stream: bool):
    """As Azure wants it, and many a server behind a proxy: no credential, but a header, and nothing of the client's own key."""
    with tenant_transaction(acmes.tenant):
        provider = Provider(
            tenant=acmes.tenant,
            slug="azure",
            kind="openai",
            base_url=acmes.upstream.base_url,
            headers={"api-key": "azure-secret", "X-Team": "stones"},
        )
        provider.save()
        route = Route.objects.create(tenant=acmes.tenant, name="gpt-on-azure")
        route.lead_to((provider, "fake"))
    client = acmes.client("inference")
    answer = client.chat.completions.create(model="gpt-on-azure", messages=[{"role": "user", "content": "Hi"}], stream=stream)
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices).strip() == TEXT
    else:
        assert answer.choices[0].message.content.strip() == TEXT
    sent = acmes.upstream.stats.headers[-1]
    assert (sent["api-key"], sent["x-team"]) == ("azure-secret", "stones")
    assert "authorization" not in sent
    assert "mh_live" not in str(sent)
