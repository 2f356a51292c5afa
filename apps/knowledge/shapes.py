"""What goes in and out of the JSON API of knowledge."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from ninja import Field, Schema

from apps.knowledge.bodies import TextIn
from apps.knowledge.models import Collection, Document, Status
from apps.knowledge.models.collection import DEFAULT_MODEL, NAME_LIMIT_CHARACTERS
from apps.knowledge.passages import LIMIT_MOST, QUESTION_LIMIT_CHARACTERS, Passage
from menhir.tenancy.fields import Strict, Text

BATCH_MOST: Final = 1_000
PAGE_MOST: Final = 500


class CollectionIn(Schema):
    """A new collection."""

    slug: Text
    name: Annotated[Text, Field(max_length=NAME_LIMIT_CHARACTERS)] = ""
    language: Text = "english"
    embedding_model: Annotated[Text, Field(max_length=NAME_LIMIT_CHARACTERS)] = DEFAULT_MODEL


class Counts(Schema):
    """How many documents there are of each status."""

    queued: int
    processing: int
    ready: int
    failed: int


class CollectionOut(Schema):
    """A collection, and how its documents are doing."""

    id: UUID
    slug: str
    name: str
    language: str
    embedding_model: str
    documents: Counts
    created_at: datetime

    @classmethod
    def of(cls, collection: Collection) -> Self:
        """Show a collection."""
        return cls(
            id=collection.id,
            slug=collection.slug,
            name=collection.name,
            language=collection.language,
            embedding_model=collection.embedding_model,
            documents=Counts(**collection.document_counts),
            created_at=collection.created_at,
        )


class CollectionList(Schema):
    """Every collection of the tenant, by slug."""

    collections: list[CollectionOut]


class Progress(Schema):
    """Chunks embedded, of how many; 0 of 0 before the document was read."""

    done: int
    total: int


class DocumentOut(Schema):
    """A document without its text. `answering` says whether some edition of it is searched, also while a newer one is on its way."""

    id: UUID
    external_id: str
    title: str
    filename: str
    media_type: str
    size: int
    sha256: str
    status: str
    failure: str | None
    progress: Progress
    answering: bool
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> Self:
        """Show a document."""
        done, total = document.progress
        return cls(
            id=document.id,
            external_id=document.external_id,
            title=document.title,
            filename=document.filename,
            media_type=document.media_type,
            size=document.size,
            sha256=document.sha256,
            status=document.status,
            failure=document.failure or None,
            progress=Progress(done=done, total=total),
            answering=document.is_answering,
            metadata=document.metadata,
            created_at=document.created_at,
            updated_at=document.updated_at,
        )


class DocumentWithText(DocumentOut):
    """A document with the text that answers; the spans of hits are into it."""

    text: str


class DocumentList(Schema):
    """A page of documents, by external id; `next` goes into `after` for the page that follows, and is null on the last."""

    documents: list[DocumentOut]
    next: str | None


class Page(Schema):
    """Which documents to list."""

    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = 100
    status: Status | None = None


class BatchItem(TextIn):
    """A document of a batch."""

    external_id: Text


class BatchIn(Schema):
    """Up to 1,000 documents. All are taken in, or none."""

    documents: Annotated[list[BatchItem], Field(max_length=BATCH_MOST)]


class BatchResult(Schema):
    """What became of one document of a batch."""

    id: UUID
    external_id: str
    status: str


class BatchOut(Schema):
    """The documents of a batch, in its order."""

    documents: list[BatchResult]


class SearchIn(Strict):
    """What to look for."""

    query: Annotated[Text, Field(min_length=1, max_length=QUESTION_LIMIT_CHARACTERS)]
    limit: Annotated[int, Field(ge=1, le=LIMIT_MOST, strict=True)] = 10


class Hit(Schema):
    """A passage: `text` is the document's from `start` to `end`. `document` and `chunk` are ids."""

    external_id: str
    document: UUID
    title: str
    chunk: UUID
    text: str
    score: float
    similarity: float | None
    start: int
    end: int

    @classmethod
    def of(cls, passage: Passage) -> Self:
        """Show a passage."""
        return cls(
            external_id=passage.external_id,
            document=passage.document_id,
            title=passage.title,
            chunk=passage.chunk_id,
            text=passage.text,
            score=passage.score,
            similarity=passage.similarity,
            start=passage.start,
            end=passage.end,
        )


class SearchOut(Schema):
    """What was found, best first."""

    hits: list[Hit]
