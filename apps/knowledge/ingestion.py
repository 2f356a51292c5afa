"""How an edition of a document comes to answer: claim, extract, cut, embed, publish.

Each step that writes is one short transaction which first takes the document's row and looks whether the edition is
still the latest. A document that was deleted or brought anew meanwhile is not there any more to that look: the job
stops, and nothing is resurrected. Between the steps no transaction and no connection is held. What a step has written
is not done again: a job that was killed goes on where it stopped. The chunks of an edition are invisible to search
until `publish` makes it the live one and drops the one before, in the same transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import OperationalError, connection
from django.utils import timezone

from apps.knowledge.chunking import heading
from apps.knowledge.embedding import as_literals, embed
from apps.knowledge.errors import EmbeddingBusy, EmbeddingRefused, Unreadable
from apps.knowledge.extraction import Extracted, extract
from apps.knowledge.models import Chunk, Document, Edition, EmbeddingIndex, Status
from apps.knowledge.models.collection import wipe
from menhir.tenancy.models import Tenant
from menhir.tenancy.principal import Principal, system
from menhir.tenancy.transaction import tenant_transaction

BATCH_CHUNKS = 32
"""Chunks in one request to the embedding model: long enough to fill it, short enough that progress is seen and questions get between."""

ROWS_BATCH = 500
VECTOR_OF_CHUNK = "e.tenant_id = %s AND e.chunk_id = knowledge_chunk.id AND e.index_id = %s"
AWAY_TOO_LONG = (
    "The embedding model {model!r} did not answer for some minutes. Upload the document again once it does. The last it said: {why}"
)
OUR_FAULT = "Something went wrong on our side while this document was being read. It has been logged. Upload it again to try once more."
TOO_MANY_TRIES = "Reading this document was broken off again and again. Split it into parts and upload them one by one."

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Superseded(Exception):
    """The edition is not the document's latest any more, or the document is gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a job is to do."""

    principal: Principal
    model: str
    filename: str
    media_type: str
    content: bytes | None
    """None when an earlier try has read and cut it already."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks that have no vector yet."""

    ids: list[UUID]
    texts: list[str]


async def ingest(tenant_id: UUID, document_id: UUID, edition_id: UUID, *, last_try: bool) -> None:
    """Make an edition answer, or fail it with a sentence. Raises EmbeddingBusy when it is worth another try, unless this is the last."""
    edition = EditionAtWork(tenant_id, document_id, edition_id)
    try:
        claim = await edition.run(edition.claim)
        try:
            if claim.content is not None:
                found = await extract(claim.content, filename=claim.filename, media_type=claim.media_type)
                await edition.run(partial(edition.cut, found))
            while batch := await edition.run(edition.unembedded):
                vectors = as_literals(await embed(batch.texts, model=claim.model, principal=claim.principal))
                await edition.run(partial(edition.keep, batch, vectors))
            await edition.run(edition.publish)
        except (Unreadable, EmbeddingRefused) as e:
            await edition.run(partial(edition.fail, e.message))
        except EmbeddingBusy as e:
            if not last_try:
                raise
            sentence = AWAY_TOO_LONG.format(model=claim.model, why=e.message)
            await edition.run(partial(edition.fail, sentence))
        except (OperationalError, Superseded):
            raise
        except Exception:
            # A fault of ours: it is for the log, and the document must not look busy for ever.
            await edition.run(partial(edition.fail, OUR_FAULT))
            raise
    except Superseded:
        log.info("edition superseded", document_id=str(document_id), edition_id=str(edition_id))


async def give_up(tenant_id: UUID, document_id: UUID, edition_id: UUID) -> None:
    """Fail an edition whose worker died at it too often: it may be what killed them."""
    edition = EditionAtWork(tenant_id, document_id, edition_id)
    with contextlib.suppress(Superseded):
        await edition.run(partial(edition.fail, TOO_MANY_TRIES))


class EditionAtWork:
    """The writing steps of an ingestion. Each runs in a transaction of its own, in a thread, with the document's row held."""

    def __init__(self, tenant_id: UUID, document_id: UUID, edition_id: UUID) -> None:
        self.tenant_id, self.document_id, self.edition_id = tenant_id, document_id, edition_id

    async def run(self, step: Callable[[], T]) -> T:
        """Run a step off the event loop, in the tenant's transaction; its connection goes back to the pool."""

        def stepped() -> T:
            try:
                with tenant_transaction(self.tenant_id):
                    return step()
            finally:
                connection.close()

        return await asyncio.to_thread(stepped)

    def held(self) -> Document:
        """The document, its row locked; raises Superseded when this edition is not its latest."""
        found: Document | None = (
            Document.objects.within(self.tenant_id)
            .filter(id=self.document_id, latest_edition=self.edition_id)
            .select_related("collection")
            .defer("text")
            .select_for_update(of=("self",))
            .first()
        )
        if found is None:
            raise Superseded
        return found

    def claim(self) -> Claim:
        """Say that it is being processed; what is to be done."""
        document = self.held()
        if document.live_edition == self.edition_id or document.status == Status.FAILED:
            raise Superseded
        document.status = Status.PROCESSING
        document.updated_at = timezone.now()
        document.save(update_fields=["status", "updated_at"])
        cut = Chunk.objects.within(self.tenant_id).filter(edition_id=self.edition_id).exists()
        content = None if cut else Edition.objects.within(self.tenant_id).values_list("content", flat=True).get(id=self.edition_id)
        slug = Tenant.objects.values_list("slug", flat=True).get(id=self.tenant_id)
        return Claim(
            principal=system(self.tenant_id, slug, "ingestion"),
            model=document.collection.embedding_model,
            filename=document.filename,
            media_type=document.media_type,
            content=None if content is None else bytes(content),
        )

    def cut(self, found: Extracted) -> None:
        """Write the chunks, without vectors and not yet live."""
        document = self.held()
        Edition.objects.within(self.tenant_id).filter(id=self.edition_id).update(text=found.text, found_title=found.title)
        title = document.title if document.title_given else found.title
        language, head = document.collection.language, heading(title)
        Chunk.objects.bulk_create(
            [
                Chunk(
                    tenant_id=self.tenant_id, document_id=self.document_id, edition_id=self.edition_id, ordinal=ordinal, language=language,
                    heading=head, start=span.start, end=span.end, tokens=span.tokens, text=found.text[span.start : span.end],
                )
                for ordinal, span in enumerate(found.spans)
            ],
            batch_size=ROWS_BATCH,
        )  # fmt: skip
        self.advance(document, total=len(found.spans), done=0)

    def unembedded(self) -> Batch | None:
        """The next chunks that have no vector in the collection's index; None when all have."""
        document = self.held()
        index = EmbeddingIndex.of(document.collection)
        rows = list(
            Chunk.objects.within(self.tenant_id)
            .filter(edition_id=self.edition_id)
            .extra(  # noqa: S610 - constants alone; the vectors' table has no model (see models/embedding.py)
                where=[
                    f"NOT EXISTS (SELECT FROM knowledge_embedding e WHERE {VECTOR_OF_CHUNK})",
                ],
                params=[self.tenant_id, index.id],
            )
            .order_by("ordinal")[:BATCH_CHUNKS]
        )
        return Batch([chunk.id for chunk in rows], [chunk.embedded_text for chunk in rows]) if rows else None

    def keep(self, batch: Batch, vectors: list[str]) -> None:
        """Write the vectors of a batch."""
        document = self.held()
        EmbeddingIndex.of(document.collection).keep(batch.ids, vectors)
        self.advance(document, total=document.chunks_total, done=document.chunks_done + len(batch.ids))

    def publish(self) -> None:
        """Make this edition the one that answers; what answered before goes with it."""
        document = self.held()
        chunks = Chunk.objects.within(self.tenant_id).filter(document_id=self.document_id)
        wipe(chunks.exclude(edition_id=self.edition_id))
        wipe(Edition.objects.within(self.tenant_id).filter(document_id=self.document_id).exclude(id=self.edition_id))
        edition = Edition.objects.within(self.tenant_id).defer("content").get(id=self.edition_id)
        tokens = list(chunks.values_list("tokens", flat=True))
        document.text = edition.text
        if edition.found_title and not document.title_given:
            document.title = edition.found_title
        document.live_edition = self.edition_id
        document.live_chunks, document.live_tokens = len(tokens), sum(tokens)
        document.chunks_total = document.chunks_done = len(tokens)
        document.status, document.failure = Status.READY, ""
        document.updated_at = timezone.now()
        document.save()
        Edition.objects.within(self.tenant_id).filter(id=self.edition_id).update(text="")

    def fail(self, sentence: str) -> None:
        """Say why this edition will not answer; one that did before goes on answering."""
        document = self.held()
        wipe(Chunk.objects.within(self.tenant_id).filter(document_id=self.document_id, edition_id=self.edition_id))
        document.status, document.failure = Status.FAILED, sentence
        document.chunks_total = document.chunks_done = 0
        document.updated_at = timezone.now()
        document.save(update_fields=["status", "failure", "chunks_total", "chunks_done", "updated_at"])

    def advance(self, document: Document, *, total: int, done: int) -> None:
        """Show how far it is."""
        document.chunks_total, document.chunks_done = total, done
        document.updated_at = timezone.now()
        document.save(update_fields=["chunks_total", "chunks_done", "updated_at"])
