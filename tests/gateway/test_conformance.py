"""One suite for every kind of upstream: what `apps.gateway.upstreams` promises the relay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
import pytest

from apps.gateway import runtime
from apps.gateway.call import PATHS, ResolvedTarget
from apps.gateway.errors import UpstreamRefused
from apps.gateway.registry import UPSTREAMS
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.upstreams import Attempt
from menhir.postgres.ids import uuid7

from peers.caller import fake
from peers.script import DIMENSIONS

QUESTION = [
    {"role": "system", "content": '<passages>\n<passage id="1" document="Stones">\nA menhir is a standing stone.\n</passage>\n</passages>'},
    {"role": "user", "content": "What is a menhir?"},
]


@dataclass(frozen=True)
class Kind:
    """An upstream of one kind, and what it can do."""

    name: str
    model: str
    operation: str
    patient: str
    """A model that takes so long that it will be hung up on."""


KINDS = [
    Kind("openai", "fake", "chat", fake(gap_ms=1000)),
    Kind("openai", "fake", "embeddings", fake(first_ms=20_000)),
    Kind("anthropic", "fake", "chat", fake(gap_ms=1000)),
    Kind("gemini", "fake", "chat", fake(gap_ms=1000)),
    Kind("gemini", "fake", "embeddings", fake(first_ms=20_000)),
    Kind("embedder", "fake", "embeddings", fake(first_ms=20_000)),
    Kind("extract", "extract", "chat", "extract"),
]
CHATTING = [kind for kind in KINDS if kind.operation == "chat"]
EMBEDDING = [kind for kind in KINDS if kind.operation == "embeddings"]


@pytest.fixture(autouse=True)
async def session():
    await runtime.start()
    yield
    await runtime.stop()


@pytest.fixture
def attempt(upstream):
    def make(kind: Kind, *, stream: bool = False, operation: str = "", model: str = "", **body: object) -> Attempt:
        operation = operation or kind.operation
        content = {"messages": QUESTION} if operation == "chat" else {"input": ["a menhir", "a dolmen", "a menhir"]}
        return Attempt(
            operation=operation,
            path=PATHS[operation],
            body={"model": "what the client wrote", **content, **({"stream": True} if stream else {}), **body},
            raw=None,
            stream=stream,
            target=ResolvedTarget(
                kind=kind.name,
                provider="peer",
                provider_id=uuid7(),
                base_url={"extract": "", "gemini": upstream.gemini_url}.get(kind.name, upstream.base_url),
                credential="",
                headers={"x-pace-ms": "0"},
                upstream_model=model or kind.model,
            ),
            request_id="req-1",
            session=runtime.session(),
        )

    return make


async def body_of(attempt: Attempt) -> bytes:
    async with UPSTREAMS[attempt.target.kind].open(attempt) as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream" if attempt.stream else "application/json")
        return b"".join([chunk async for chunk in response.chunks()])


def describe(kind: Kind) -> str:
    return f"{kind.name}-{kind.operation}"


@pytest.mark.parametrize("kind", CHATTING, ids=describe)
async def test_a_whole_chat_answer(kind, attempt):
    answer = orjson.loads(await body_of(attempt(kind)))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert "menhir" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] > 0
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == kind.model


@pytest.mark.parametrize("kind", CHATTING, ids=describe)
async def test_a_chat_stream_says_the_same_and_ends_with_usage_and_done(kind, attempt):
    splitter = EventSplitter()
    events = [data_of(event) for event in splitter.feed(await body_of(attempt(kind, stream=True)))]
    assert splitter.rest == b""
    said = [event for event in events if event is not None]
    assert said.pop() == b"[DONE]"
    chunks = [orjson.loads(event) for event in said]
    usage = chunks.pop()
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] > 0
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    whole = orjson.loads(await body_of(attempt(kind)))
    assert text == whole["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kind", EMBEDDING, ids=describe)
async def test_embeddings_come_one_for_each_input_in_order(kind, attempt):
    answer = orjson.loads(await body_of(attempt(kind)))
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    first, second, third = (item["embedding"] for item in answer["data"])
    assert first == third != second
    assert len(first) == DIMENSIONS
    assert answer["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("kind", EMBEDDING, ids=describe)
async def test_many_texts_are_embedded_like_few(kind, attempt):
    texts = [f"stone {number}" for number in range(230)]
    answer = orjson.loads(await body_of(attempt(kind, input=texts)))
    assert [item["index"] for item in answer["data"]] == list(range(230))
    assert answer["usage"]["prompt_tokens"] == 460
    few = orjson.loads(await body_of(attempt(kind, input=[texts[0], texts[99], texts[100], texts[229]])))
    assert [item["embedding"] for item in few["data"]] == [answer["data"][at]["embedding"] for at in (0, 99, 100, 229)]


@pytest.mark.parametrize("kind", KINDS, ids=describe)
async def test_the_attempt_is_not_changed(kind, attempt):
    tried = attempt(kind, stream=kind.operation == "chat")
    before = orjson.dumps(tried.body)
    await body_of(tried)
    assert orjson.dumps(tried.body) == before


@pytest.mark.parametrize("kind", KINDS, ids=describe)
async def test_leaving_early_leaves_nothing_behind(kind, attempt, upstream):
    slow = attempt(kind, stream=kind.operation == "chat", model=kind.patient)
    before = asyncio.all_tasks()

    async def read() -> None:
        async with UPSTREAMS[kind.name].open(slow) as response:
            async for _ in response.chunks():
                break

    if kind.operation == "chat":
        await read()
    else:
        task = asyncio.create_task(read())
        assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == before
    assert runtime.session()._used == set()
    if kind.name != "extract":
        assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1, seconds=1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in {"anthropic", "embedder", "extract"}], ids=describe)
async def test_what_a_kind_cannot_do_it_refuses(kind, attempt):
    other = "embeddings" if kind.operation == "chat" else "chat"
    with pytest.raises(UpstreamRefused):
        await body_of(attempt(kind, operation=other))
