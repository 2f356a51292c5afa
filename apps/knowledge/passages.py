"""What a search gives, and what it takes: shared by both ways to search."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from menhir.errors import Invalid

LIMIT_MOST = 200
QUESTION_LIMIT_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found: `text` is the document's from `start` to `end`; `collection` is a slug.

    `score` is 1.0 for what is first by words and by meaning; it orders the passages of one answer and says nothing of how good they are.
    `similarity` does, a little: the cosine of question and passage, where the passage was found by meaning.
    """

    chunk_id: UUID
    document_id: UUID
    external_id: str
    title: str
    collection: str
    text: str
    start: int
    end: int
    score: float
    similarity: float | None = None


def asked(query: str, *, limit: int) -> str:
    r"""The question as it is searched for; raises Invalid for one that cannot be.

    >>> asked("  what is a\tmenhir? ", limit=5)
    'what is a menhir?'
    """
    if not 1 <= limit <= LIMIT_MOST:
        raise Invalid(f"limit is 1 to {LIMIT_MOST}.", param="limit")
    question = " ".join(query.replace("\x00", " ").encode(errors="replace").decode().split())
    if not question:
        raise Invalid("query is empty.", param="query")
    return question[:QUESTION_LIMIT_CHARACTERS]
