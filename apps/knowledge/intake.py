"""How uploads come in: their rows, their bytes and their jobs, in one transaction, ten or a thousand at once.

Fairness between tenants is decided here. Procrastinate hands out the job of the highest priority first, then the
oldest. Each job gets minus the number of ingestions its tenant already has waiting: the n-th waiting document of any
tenant ranks with the n-th of every other, so whoever brings a thousand documents waits behind himself, and somebody's
single one is next but one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from apps.knowledge import jobs
from apps.knowledge.errors import BadUpload, UploadTooLarge
from apps.knowledge.extraction.tidying import one_line
from apps.knowledge.models import Collection, Document, Edition, Status
from apps.knowledge.models.document import EXTERNAL_ID_LIMIT_CHARACTERS, TITLE_LIMIT_CHARACTERS
from menhir import audit
from menhir.tenancy.principal import Principal

UNDERWAY = (Status.QUEUED, Status.PROCESSING)


@dataclass(frozen=True, slots=True)
class Upload:
    """One thing that somebody brings. Without a title it gets the one it gives itself, or its file name's."""

    external_id: str
    content: bytes
    filename: str = ""
    media_type: str = ""
    title: str = ""
    metadata: Mapping[str, Any] | None = None


def take_in(collection: Collection, uploads: Sequence[Upload], *, by: Principal) -> list[Document]:
    """Keep the uploads and queue a job for each that is new; the documents, in the order of the uploads.

    Of several with one id the last counts. Raises before anything is written when one of them cannot be taken.
    """
    for upload in uploads:
        check(upload)
    wanted = {upload.external_id: upload for upload in uploads}
    documents = locked(collection, list(wanted))
    fresh = [documents[name] for name, upload in wanted.items() if renew(documents[name], upload)]
    editions = [
        Edition(tenant_id=document.tenant_id, document=document, content=wanted[document.external_id].content) for document in fresh
    ]
    Edition.objects.bulk_create(editions, batch_size=50)
    for document, edition in zip(fresh, editions, strict=True):
        document.latest_edition = edition.id
    Document.objects.bulk_update(
        fresh,
        ["title", "title_given", "filename", "media_type", "sha256", "size", "status", "failure", "chunks_total", "chunks_done", "metadata",
         "latest_edition", "updated_at"],
        batch_size=200,
    )  # fmt: skip
    queue(collection, fresh)
    if fresh:
        note(collection, fresh, by=by)
    return [documents[upload.external_id] for upload in uploads]


def check(upload: Upload) -> None:
    """Refuse what cannot be kept."""
    limit = settings.MENHIR_UPLOAD_LIMIT_BYTES
    if len(upload.content) > limit:
        raise UploadTooLarge(f"This upload has {len(upload.content):,} bytes; the limit is {limit:,}.", param="content")
    if not upload.external_id.strip() or len(upload.external_id) > EXTERNAL_ID_LIMIT_CHARACTERS or not upload.external_id.isprintable():
        raise BadUpload(f"An external id has 1 to {EXTERNAL_ID_LIMIT_CHARACTERS} printable characters.", param="external_id")
    if "\x00" in repr(upload.metadata or {}) or r"\x00" in repr(upload.metadata or {}):
        raise BadUpload("Metadata cannot hold the character U+0000.", param="metadata")


def locked(collection: Collection, external_ids: Sequence[str]) -> dict[str, Document]:
    """The documents of these ids by id, made where they are missing, their rows held until the transaction ends."""
    held = Document.objects.within(collection.tenant_id).filter(collection=collection, external_id__in=external_ids).defer("text")
    known = set(held.values_list("external_id", flat=True))
    Document.objects.bulk_create(
        [
            Document(tenant_id=collection.tenant_id, collection=collection, external_id=name, title=name[:TITLE_LIMIT_CHARACTERS])
            for name in external_ids
            if name not in known
        ],
        ignore_conflicts=True,  # somebody else may be bringing the same one
        batch_size=200,
    )
    return {document.external_id: document for document in held.order_by("id").select_for_update()}


def renew(document: Document, upload: Upload) -> bool:
    """Make the document about this upload; False when it already is, and nothing is left to do."""
    digest = hashlib.sha256(upload.content).hexdigest()
    title = one_line(upload.title, longest=TITLE_LIMIT_CHARACTERS)
    same = document.sha256 == digest and document.title_given == bool(title) and (not title or document.title == title)
    if same and document.status != Status.FAILED:
        if upload.metadata is not None and dict(upload.metadata) != document.metadata:
            document.metadata = dict(upload.metadata)
            document.save(update_fields=["metadata"])
        return False
    document.title = title or one_line(upload.filename, longest=TITLE_LIMIT_CHARACTERS) or document.external_id[:TITLE_LIMIT_CHARACTERS]
    document.title_given = bool(title)
    document.filename = upload.filename[-255:]
    document.media_type = upload.media_type.partition(";")[0].strip().lower()[:120]
    document.sha256 = digest
    document.size = len(upload.content)
    document.status = Status.QUEUED
    document.failure = ""
    document.chunks_total = document.chunks_done = 0
    if upload.metadata is not None:
        document.metadata = dict(upload.metadata)
    document.updated_at = timezone.now()
    return True


def queue(collection: Collection, documents: Sequence[Document]) -> None:
    """Defer one job for each document, each a little less urgent than the tenant's one before."""
    waiting = (
        Document.objects.within(collection.tenant_id)
        .filter(status__in=UNDERWAY)
        .exclude(Q(id__in=[document.id for document in documents]))
        .count()
    )
    jobs.defer(documents, waiting=waiting)


def note(collection: Collection, documents: Sequence[Document], *, by: Principal) -> None:
    """Write into the audit log what was brought: one entry for one document, one for a batch."""
    if len(documents) == 1:
        detail = {"collection": collection.slug, "external_id": documents[0].external_id, "size": documents[0].size}
        audit.record(by, verb="document.uploaded", noun="document", noun_id=documents[0].id, detail=detail)
    else:
        detail = {"slug": collection.slug, "documents": len(documents)}
        audit.record(by, verb="collection.documents_uploaded", noun="collection", noun_id=collection.id, detail=detail)
