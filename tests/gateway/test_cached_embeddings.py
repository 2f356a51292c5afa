"""What the memory of embeddings keeps, and from whom."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from apps.gateway.cache.embeddings import ENTRY_BYTES, MOST_INPUTS, EmbeddingCache
from apps.gateway.call import ResolvedTarget
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import system

from peers.caller import call_of

ACME, GLOBEX = system(uuid7(), "acme"), system(uuid7(), "globex")
TARGET = ResolvedTarget(kind="openai", provider="p", provider_id=uuid7(), base_url="", credential="", headers={}, upstream_model="m")


def call(principal=ACME, **body):
    return call_of(principal, "route", operation="embeddings", **body)


def body_of(*vectors) -> bytes:
    return orjson.dumps({"object": "list", "data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)], "usage": {}})


@pytest.fixture
def cache() -> EmbeddingCache:
    cache = EmbeddingCache()
    cache.keep(call(input=["a", "b"]), TARGET, body_of([1.5], [2.5]))
    return cache


def test_any_part_of_what_was_asked_is_known(cache):
    answer = orjson.loads(cache.answer(call(input=["b", "a", "b"]), TARGET))
    assert [(item["index"], item["embedding"]) for item in answer["data"]] == [(0, [2.5]), (1, [1.5]), (2, [2.5])]
    assert answer["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert cache.answer(call(input="a"), TARGET) is not None


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (call(input=["a", "c"]), TARGET),
        (call(GLOBEX, input="a"), TARGET),
        (call(input="a", dimensions=1), TARGET),
        (call(input="a", encoding_format="base64"), TARGET),
        (call(input="a"), replace(TARGET, upstream_model="n")),
        (call(input="a"), replace(TARGET, provider_id=uuid7())),
        (call(input=[1, 2]), TARGET),
        (call(input=[]), TARGET),
        (call(input={}), TARGET),
    ],
)
def test_anything_else_is_not(cache, asked, target):
    assert cache.answer(asked, target) is None


def test_documents_on_their_way_into_a_collection_are_not_kept():
    cache = EmbeddingCache()
    texts = [str(n) for n in range(MOST_INPUTS + 1)]
    cache.keep(call(input=texts), TARGET, body_of(*([n] for n in texts)))
    assert len(cache) == 0


@pytest.mark.parametrize("body", [b"{}", b"nonsense", body_of([1.5]), orjson.dumps({"data": [{"index": 0, "embedding": [1]}] * 2})])
def test_an_answer_that_does_not_match_the_question_is_not_kept(body):
    cache = EmbeddingCache()
    cache.keep(call(input=["a", "b"]), TARGET, body)
    assert len(cache) == 0


def test_the_least_recently_used_goes_first():
    cache = EmbeddingCache(limit_bytes=3 * (ENTRY_BYTES + 3))
    for text in "abc":
        cache.keep(call(input=text), TARGET, body_of([1]))
    assert cache.answer(call(input="a"), TARGET)
    cache.keep(call(input="d"), TARGET, body_of([1]))
    assert [cache.answer(call(input=text), TARGET) is not None for text in "abcd"] == [True, False, True, True]
    assert cache.bytes <= cache.limit_bytes
    cache.clear()
    assert cache.bytes == len(cache) == 0
