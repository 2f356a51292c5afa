"""The official client, sync and async, streaming and not, over a real socket."""

from __future__ import annotations

import asyncio

import openai
import pytest
from assistants.conftest import EMBEDDINGS, Company

from peers.script import TEXT

QUESTION = [{"role": "user", "content": "What is a menhir?"}]


def test_a_whole_answer(acmes: Company):
    answer = acmes.client("inference").chat.completions.create(model="plain", messages=QUESTION)
    assert answer.choices[0].message.content.strip() == TEXT
    assert answer.usage.total_tokens > 0


def test_a_stream(acmes: Company):
    stream = acmes.client("inference").chat.completions.create(model="plain", messages=QUESTION, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip() == TEXT
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage(acmes: Company):
    options = {"include_usage": True}
    stream = acmes.client("inference").chat.completions.create(model="plain", messages=QUESTION, stream=True, stream_options=options)
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage.completion_tokens > 0


async def test_the_async_client(acmes: Company):
    client = await asyncio.to_thread(acmes.async_client, "inference")
    whole = await client.chat.completions.create(model="plain", messages=QUESTION)
    stream = await client.chat.completions.create(model="plain", messages=QUESTION, stream=True)
    words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert whole.choices[0].message.content == "".join(words)


def test_embeddings(acmes: Company):
    answer = acmes.client("inference").embeddings.create(model=EMBEDDINGS, input=["a", "b"])
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert len(acmes.client("inference").embeddings.create(model=EMBEDDINGS, input="a").data) == 1


def test_a_plain_request_reaches_the_upstream_as_it_was_written(acmes: Company):
    odd = {"seed": 7, "logit_bias": {"50256": -100}, "metadata": {"a": "b"}, "x-unheard-of": [1.0, None, "ß"]}
    acmes.client("inference").chat.completions.create(model="plain", messages=QUESTION, extra_body=odd)
    assert acmes.upstream.stats.bodies[-1] == {"messages": QUESTION, "model": "fake", **odd}


def test_embeddings_leave_members_that_are_not_theirs_alone(acmes: Company):
    more = {"prompt": {"id": "x"}, "menhir": {"passages": 1}}
    acmes.client("inference").embeddings.create(model=EMBEDDINGS, input="a", encoding_format="float", extra_body=more)
    assert acmes.upstream.stats.bodies[-1] == {"model": "fake", "input": "a", "encoding_format": "float", **more}


def test_every_answer_has_a_request_id_and_keeps_the_clients(acmes: Company):
    create = acmes.client("inference").with_raw_response.chat.completions.create
    given = create(model="plain", messages=QUESTION, extra_headers={"x-request-id": "mine-1"})
    made = create(model="plain", messages=QUESTION)
    odd = create(model="plain", messages=QUESTION, extra_headers={"x-request-id": "no spaces <please>"})
    assert given.headers.get_list("x-request-id") == ["mine-1"]
    assert made.headers["x-request-id"].startswith("req_")
    assert odd.headers["x-request-id"].startswith("req_")
    assert acmes.upstream.stats.headers[0]["x-request-id"] == "mine-1"


def test_two_tenants_have_models_of_the_same_name(acmes: Company, globexs: Company):
    acmes.client("inference").chat.completions.create(model="plain", messages=QUESTION)
    globexs.client("inference").chat.completions.create(model="plain", messages=QUESTION)
    only = acmes.model("only-acmes")
    with pytest.raises(openai.NotFoundError) as refused:
        globexs.client("inference").chat.completions.create(model=only, messages=QUESTION)
    assert refused.value.code == "model_not_found"


def test_a_client_that_hangs_up_takes_the_upstream_with_it(acmes: Company):
    acmes.model("slow", "chunks=2000&gap_ms=20")
    stream = acmes.client("inference").chat.completions.create(model="slow", messages=QUESTION, stream=True)
    next(iter(stream))
    stream.response.close()
    assert acmes.upstream.wait(lambda stats: len(stats.cancelled) == 1, seconds=1.0)


async def test_a_client_that_gives_up_waiting_takes_the_upstream_with_it(acmes: Company):
    await asyncio.to_thread(acmes.model, "silent", "first_ms=60000")
    client = await asyncio.to_thread(acmes.async_client, "inference")
    asking = asyncio.create_task(client.chat.completions.create(model="silent", messages=QUESTION))
    assert await asyncio.to_thread(acmes.upstream.wait, lambda stats: stats.requests == 1)
    asking.cancel()
    assert await asyncio.to_thread(acmes.upstream.wait, lambda stats: len(stats.cancelled) == 1, seconds=1.0)


def test_a_stream_that_is_cut_is_an_error(acmes: Company):
    acmes.model("cut", "chunks=10&cut=3")
    stream = acmes.client("inference").chat.completions.create(model="cut", messages=QUESTION, stream=True)
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert broken.value.type == "upstream_error"


@pytest.mark.parametrize(
    ("orders", "status"), [("status=500", 503), ("status=429", 429), ("status=503", 503), ("status=401", 503), ("status=400", 400)]
)
def test_an_upstream_that_refuses(acmes: Company, orders: str, status: int):
    acmes.model("refusing", orders)
    with pytest.raises(openai.APIStatusError) as refused:
        acmes.client("inference").chat.completions.create(model="refusing", messages=QUESTION)
    assert refused.value.status_code == status
    assert refused.value.type == "upstream_error"
    assert refused.value.request_id
    assert orders != "status=401" or "sk-secret" not in str(refused.value.body)


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_not_there(acmes: Company, *, stream: bool):
    acmes.model("away", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(openai.APIStatusError) as refused:
        acmes.client("inference").chat.completions.create(model="away", messages=QUESTION, stream=stream)
    assert refused.value.status_code in {502, 503}
    assert refused.value.type == "upstream_error"
