"""Passages out of texts that come with the question and are kept nowhere: cut, embedded and ranked in memory, by the same two lists."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

import structlog

from apps.knowledge.chunking import chunk
from apps.knowledge.embedding import Vector, embed
from apps.knowledge.errors import EmbeddingBusy, EmbeddingRefused
from apps.knowledge.extraction.sniffing import MARKDOWN
from apps.knowledge.extraction.tidying import SURROGATES
from apps.knowledge.models.collection import DEFAULT_MODEL
from apps.knowledge.passages import Passage, asked
from menhir.tenancy.principal import Principal

RRF_K = 60
K1, B = 0.9, 0.4
BATCH_CHUNKS = 64
EMBEDDED_MOST = 1_000
"""More chunks than this are ranked by words first, and only the best of them by meaning: a question must not wait for minutes."""

WORD = re.compile(r"\w+")
ENDINGS = (("ies", "y"), ("ing", ""), ("ed", ""), ("ly", ""), ("ss", "ss"), ("es", ""), ("s", ""), ("e", ""))
SHORTEST_STEM = 3
TEXTS = UUID("3f2b7f0e-3c55-5d1e-9a53-6f2a5d0c7b11")
"""The namespace of ids of texts that are kept nowhere."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of one of the texts."""

    number: int
    document_id: UUID
    text: str
    start: int
    end: int


async def rank_inline(texts: Sequence[str], query: str, limit: int, principal: Principal, *, model: str = DEFAULT_MODEL) -> list[Passage]:
    """The best passages of these texts for a question, best first; by words alone while the embedding model is away.

    A text goes by its number (`external_id` is "1", "2", …), and by ids that are always the same for the same text.
    """
    question = asked(query, limit=limit)
    pieces, by_words = await asyncio.to_thread(prepared, texts, question)
    if not pieces:
        return []
    chosen = (
        sorted(by_words[:EMBEDDED_MOST] or range(min(len(pieces), EMBEDDED_MOST))) if len(pieces) > EMBEDDED_MOST else range(len(pieces))
    )
    similarities: dict[int, float] = {}
    try:
        vectors = await embedded([question, *(pieces[i].text for i in chosen)], model=model, principal=principal)
        similarities = {i: cosine(vectors[0], vector) for i, vector in zip(chosen, vectors[1:], strict=True)}
    except (EmbeddingBusy, EmbeddingRefused) as e:
        log.warning("ranking by words alone", model=model, reason=e.message)
    by_meaning = sorted(similarities, key=lambda i: (-similarities[i], i))
    scores = fused([by_words, by_meaning] if by_meaning else [by_words])
    best = sorted(scores, key=lambda i: (-scores[i], i))[:limit]
    return [passage(pieces[i], score=scores[i], similarity=similarities.get(i)) for i in best]


def passage(piece: Piece, *, score: float, similarity: float | None) -> Passage:
    """A piece with what was found out about it."""
    return Passage(
        chunk_id=uuid5(piece.document_id, f"{piece.start}:{piece.end}"),
        document_id=piece.document_id,
        external_id=str(piece.number),
        title=f"Document {piece.number}",
        collection="",
        text=piece.text,
        start=piece.start,
        end=piece.end,
        score=score,
        similarity=similarity,
    )


def prepared(texts: Sequence[str], question: str) -> tuple[list[Piece], list[int]]:
    """The chunks of the texts, and their order by words."""
    pieces = []
    for number, given in enumerate(texts, start=1):
        text = SURROGATES.sub("\ufffd", given)  # one for one: spans stay true
        document_id = uuid5(TEXTS, text)
        spans = chunk(text, markdown=bool(MARKDOWN.search(text)))
        pieces += [Piece(number, document_id, text[span.start : span.end], span.start, span.end) for span in spans]
    return pieces, bm25(question, [piece.text for piece in pieces])


async def embedded(texts: Sequence[str], *, model: str, principal: Principal) -> list[Vector]:
    """A vector for each text, asked for in batches at the same time."""
    batches = [texts[at : at + BATCH_CHUNKS] for at in range(0, len(texts), BATCH_CHUNKS)]
    answers = await asyncio.gather(*(embed(batch, model=model, principal=principal) for batch in batches))
    return [vector for answer in answers for vector in answer]


def bm25(question: str, texts: Sequence[str]) -> list[int]:
    """The numbers of the texts that have a word of the question, best first (Robertson and Zaragoza 2009, with Anserini's k1 and b).

    >>> bm25("raising stones", ["a hill", "they raised a stone", "stone stone"])
    [1, 2]
    """
    terms = set(words(question))
    counts = [Counter(words(text)) for text in texts]
    lengths = [max(1, count.total()) for count in counts]
    average = sum(lengths) / max(1, len(lengths))
    frequency = {term: sum(term in count for count in counts) for term in terms}
    scores: dict[int, float] = {}
    for number, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        for term in terms & count.keys():
            idf = math.log(1 + (len(texts) - frequency[term] + 0.5) / (frequency[term] + 0.5))
            weight = count[term] * (K1 + 1) / (count[term] + K1 * (1 - B + B * length / average))
            scores[number] = scores.get(number, 0.0) + idf * weight
    return sorted(scores, key=lambda number: (-scores[number], number))


def words(text: str) -> list[str]:
    """Its words in lower case, without the endings that English and its neighbours put on them.

    >>> words("The stones were raised quickly")
    ['the', 'ston', 'wer', 'rais', 'quick']
    """
    return [stem(word) for word in WORD.findall(text.lower())]


def stem(word: str) -> str:
    """A word without its commonest endings: enough to meet its own plural and participle (Harman's S-stemmer and a little more)."""
    for ending, rest in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            return word[: -len(ending)] + rest
    return word


def fused(lists: Sequence[Sequence[int]]) -> dict[int, float]:
    """Reciprocal rank fusion of several orders, 1.0 for what is first in all.

    >>> fused([[7, 8], [7]])[7]
    1.0
    """
    most = len(lists) / (RRF_K + 1)
    scores: dict[int, float] = {}
    for order in lists:
        for place, number in enumerate(order, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF_K + place) / most
    return scores


def cosine(left: Vector, right: Vector) -> float:
    """The cosine between two vectors; 0 where one of them is nothing."""
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    norms = math.sqrt(sum(a * a for a in left)) * math.sqrt(sum(b * b for b in right))
    return dot / norms if norms else 0.0
