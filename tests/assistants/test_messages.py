"""Anthropic's own client on a route of any kind, over a real socket."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from assistants.conftest import Company

from peers.script import TEXT

QUESTION = [{"role": "user", "content": "What is a menhir?"}]


def client_of(company: Company, *, key: str | None = None) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=company.server.base_url, api_key=key or company.person.key("inference"), max_retries=0)


def test_a_whole_message(acmes: Company):
    message = client_of(acmes).messages.create(model="plain", max_tokens=100, messages=QUESTION, system="Be brief.")
    assert message.content[0].text.strip() == TEXT
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")
    sent = acmes.upstream.stats.bodies[-1]
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *QUESTION]


def test_a_stream(acmes: Company):
    with client_of(acmes).messages.stream(model="plain", max_tokens=100, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text.strip() == TEXT
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


async def test_the_async_client(acmes: Company):
    key = await asyncio.to_thread(acmes.person.key, "inference")
    client = anthropic.AsyncAnthropic(base_url=acmes.server.base_url, auth_token=key, max_retries=0)
    whole = await client.messages.create(model="plain", max_tokens=100, messages=QUESTION)
    async with client.messages.stream(model="plain", max_tokens=100, messages=QUESTION) as stream:
        message = await stream.get_final_message()
    assert whole.content[0].text == message.content[0].text


def test_without_a_key_nobody_is_let_in(acmes: Company):
    with pytest.raises(anthropic.AuthenticationError) as refused:
        client_of(acmes, key="sk-wrong").messages.create(model="plain", max_tokens=1, messages=QUESTION)
    assert refused.value.type == "authentication_error"
    assert refused.value.request_id


def test_a_stream_that_is_cut_is_an_error(acmes: Company):
    acmes.model("cut", "chunks=10&cut=3")
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        client_of(acmes).messages.stream(model="cut", max_tokens=100, messages=QUESTION) as stream,
    ):
        stream.get_final_message()
    assert broken.value.body["error"]["type"] == "api_error"
