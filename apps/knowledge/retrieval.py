"""Find passages: by words (BM25) and by meaning (cosine), merged by reciprocal rank.

A chunk's score is the sum of 1 / (60 + rank) over the two lists (Cormack, Clarke and Büttcher, SIGIR 2009), half by its
own rank and half by the best of its document, divided by the most that it can be. What is kept in collections is
searched by Postgres (`search`), what comes with the question in memory (`rank_inline`).

When the embedding model is away the words alone answer, rather than nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from apps.knowledge.embedding import as_literals, embed
from apps.knowledge.errors import EmbeddingBusy, EmbeddingRefused
from apps.knowledge.inline import rank_inline
from apps.knowledge.passages import Passage, asked
from menhir.postgres import pools, sql
from menhir.tenancy.principal import Principal

__all__ = ["Passage", "rank_inline", "search"]

INDEXES_OF = sql.load(__package__ or "", "indexes_of")
SEARCH_CHUNKS = sql.load(__package__ or "", "search_chunks")
log = structlog.get_logger(__name__)


async def search(tenant_id: UUID, collections: Sequence[UUID], query: str, limit: int, principal: Principal) -> list[Passage]:
    """The best passages of these collections, best first. Another tenant's collections are as good as none."""
    question = asked(query, limit=limit)
    async with pools.app.tenant(tenant_id) as connection:
        indexes = await INDEXES_OF.all(connection, tenant_id=tenant_id, collection_ids=list(collections))
    # No connection is held while the model works.
    vectors = await vectors_of(question, models={index.model for index in indexes}, principal=principal)
    answering = [index for index in indexes if index.model in vectors]
    async with pools.app.tenant(tenant_id) as connection:
        rows = await SEARCH_CHUNKS.all(
            connection,
            collection_ids=list(collections),
            question=question,
            index_ids=[index.index_id for index in answering],
            question_vectors=[vectors[index.model] for index in answering],
            wanted=limit,
        )
    return [Passage(*row) for row in rows]


async def vectors_of(question: str, *, models: set[str], principal: Principal) -> dict[str, str]:
    """The question's vector by each model, without those that do not answer now."""
    names = sorted(models)
    answers = await asyncio.gather(*(embed([question], model=name, principal=principal) for name in names), return_exceptions=True)
    found = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, EmbeddingBusy | EmbeddingRefused):
            log.warning("searching by words alone", model=name, reason=answer.message)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found[name] = as_literals(answer)[0]
    return found
