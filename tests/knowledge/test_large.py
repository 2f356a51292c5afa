"""Past the sizes at which both legs of a search stop looking at everything."""

from __future__ import annotations

import math
import random
import time

import psycopg
import pytest
from django.db import connection
from knowledge.test_search import SEARCH

from apps.knowledge.models import Chunk, EmbeddingIndex
from menhir.postgres.ids import uuid7
from menhir.tenancy.transaction import tenant_transaction

CHUNKS = 10_400
DIMENSIONS = 384


def cosine(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True)) / math.sqrt(sum(a * a for a in left) * sum(b * b for b in right))


def literal(vector):
    return f"[{','.join(f'{number:.4g}' for number in vector)}]"


def index_scans(superuser):
    """How often indexes of each method were used on the tables that are searched."""
    with psycopg.connect(superuser) as asking:
        return dict(
            asking.execute(
                "SELECT m.amname, sum(s.idx_scan) FROM pg_stat_user_indexes s JOIN pg_class c ON c.oid = s.indexrelid JOIN pg_am m ON m.oid = c.relam"
                " WHERE s.relname LIKE 'knowledge_embedding%' OR s.relname = 'knowledge_chunk' GROUP BY 1"
            ).fetchall()
        )


@pytest.mark.slow
def test_a_large_collection_is_searched_by_its_indexes(acmes, globexs, superuser):
    before = index_scans(superuser)
    chance = random.Random(7)
    acmes.learn(a="One stone.")
    document, tenant = acmes.document("a"), acmes.person.tenant
    centres = [[chance.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(40)]
    vectors = [[number + chance.gauss(0, 0.7) for number in chance.choice(centres)] for _ in range(CHUNKS)]
    with tenant_transaction(tenant):
        index = EmbeddingIndex.objects.within(tenant).get()
        chunks = [
            Chunk(
                id=uuid7(), tenant_id=tenant.id, document_id=document.id, edition_id=document.live_edition, ordinal=1 + number, start=0, end=10,
                tokens=20, language="english", text=f"The common stone of the hill, number{number}" + (" obelisk" if number in {77, 7_777} else ""),
            )
            for number in range(CHUNKS)
        ]  # fmt: skip
        Chunk.objects.bulk_create(chunks, batch_size=1000)
        for at in range(0, CHUNKS, 500):
            index.keep([chunk.id for chunk in chunks[at : at + 500]], [literal(vector) for vector in vectors[at : at + 500]])
        document.live_chunks, document.live_tokens = CHUNKS + 1, 20 * CHUNKS
        document.save(update_fields=["live_chunks", "live_tokens"])

    with psycopg.connect(superuser, autocommit=True) as tidying:
        tidying.execute(
            "ANALYZE knowledge_embedding"
        )  # as autovacuum does in time; until then the planner takes a large tenant for a small one

    def found(question, vector=None, limit=10, within=tenant):
        with tenant_transaction(within), connection.cursor() as cursor:
            began = time.perf_counter()
            indexes, asked = ([index.id], [literal(vector)]) if vector else ([], [])
            cursor.execute(SEARCH, [[document.collection_id], question, indexes, asked, limit])
            return cursor.fetchall(), time.perf_counter() - began

    # By words: what every chunk has finds nothing by itself any more, and the rare word is found all the same.
    rows, _seconds = found("the common stone by the obelisk")
    assert {row[0].split()[-2] for row in rows[:2]} == {"number77", "number7777"}
    assert found("common stone")[0]

    # By meaning: HNSW finds what looking at everything does, or nearly.
    recalls = []
    for _ in range(5):
        question = [number + chance.gauss(0, 0.7) for number in chance.choice(centres)]
        exact = sorted(range(CHUNKS), key=lambda number, question=question: -cosine(question, vectors[number]))[:10]
        rows, _seconds = found("of the", question)
        assert len(rows) == 10
        recalls.append(len({chunks[number].text for number in exact} & {row[0] for row in rows}) / 10)
    assert sum(recalls) / len(recalls) >= 0.9
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    used = {method: scans - before.get(method, 0) for method, scans in index_scans(superuser).items()}
    assert used["hnsw"] >= 5

    assert found("obelisk", vectors[0], within=globexs.person.tenant)[0] == []
