"""One thing that was uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.knowledge.errors import UnknownDocument
from apps.knowledge.models.collection import Collection, wipe
from menhir import audit
from menhir.tenancy.models import TenantForeignKey, TenantManager, TenantModel, TenantQuerySet
from menhir.tenancy.principal import Principal

EXTERNAL_ID_LIMIT_CHARACTERS = 512
TITLE_LIMIT_CHARACTERS = 200


class Status(models.TextChoices):
    """Where a document is on its way."""

    QUEUED = "queued", _("queued")
    PROCESSING = "processing", _("processing")
    READY = "ready", _("ready")
    FAILED = "failed", _("failed")


class DocumentQuerySet(TenantQuerySet["Document"]):
    """Documents; lists leave out their text, which may be long."""

    def without_text(self) -> Self:
        """For lists: everything but the text."""
        return self.defer("text")

    def named(self, external_id: str) -> Document:
        """The document of this external id; raises UnknownDocument."""
        found = self.without_text().filter(external_id=external_id).select_related("collection").first()
        if found is None:
            raise UnknownDocument(f"There is no document {external_id!r}.", param="external_id")
        return found

    def erase(self) -> int:
        """Delete these documents with their editions, chunks and vectors; how many there were.

        Each kind goes in one statement, instead of by Django's collector, which would fetch every uploaded byte to
        delete it. A job that is about to write waits for the row, finds it gone, and stops.
        """
        from apps.knowledge.models.chunk import Chunk
        from apps.knowledge.models.edition import Edition

        found = list(self.order_by("id").select_for_update(of=("self",)).values_list("tenant_id", "id"))
        for tenant_id in {tenant_id for tenant_id, _id in found}:
            ids = [document_id for owner, document_id in found if owner == tenant_id]
            wipe(Chunk.objects.within(tenant_id).filter(document__in=ids))
            wipe(Edition.objects.within(tenant_id).filter(document__in=ids))
            wipe(Document.objects.within(tenant_id).filter(id__in=ids))
        return len(found)


class Document(TenantModel):
    """One thing that was uploaded, under the id that its owner knows it by.

    `latest_edition` is the newest upload, on its way or arrived or failed; `live_edition` is the one that answers, or
    None before the first is ready. `status`, `failure` and the progress are about the latest, `text` and the live
    numbers about the live one.
    """

    Status = Status

    collection = TenantForeignKey(Collection, on_delete=models.CASCADE, related_name="documents")
    external_id = models.CharField(max_length=EXTERNAL_ID_LIMIT_CHARACTERS)
    title = models.CharField(_("title"), max_length=TITLE_LIMIT_CHARACTERS)
    title_given = models.BooleanField(default=False, editable=False)
    filename = models.CharField(_("file name"), max_length=255, default="", blank=True)
    media_type = models.CharField(_("media type"), max_length=120, default="", blank=True)
    sha256 = models.CharField(max_length=64, default="", editable=False)
    size = models.IntegerField(_("size"), default=0, editable=False)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.QUEUED, editable=False)
    failure = models.TextField(_("failure"), default="", blank=True, editable=False)
    chunks_total = models.IntegerField(default=0, editable=False)
    chunks_done = models.IntegerField(default=0, editable=False)
    metadata = models.JSONField(default=dict, blank=True)
    text = models.TextField(default="", blank=True, editable=False)
    latest_edition = models.UUIDField(null=True, editable=False)
    live_edition = models.UUIDField(null=True, editable=False)
    live_chunks = models.IntegerField(default=0, editable=False)
    live_tokens = models.IntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now, editable=False)

    objects: ClassVar = TenantManager.from_queryset(DocumentQuerySet)()

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")
        constraints = [models.UniqueConstraint(fields=["tenant", "collection", "external_id"], name="knowledge_document_external_id")]
        indexes = [
            models.Index(
                fields=["tenant", "collection"], include=["status", "live_chunks", "live_tokens"], name="knowledge_document_counts"
            ),
            models.Index(
                fields=["tenant", "updated_at"], condition=models.Q(status__in=["queued", "processing"]), name="knowledge_document_underway"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @classmethod
    def upload(
        cls,
        collection: Collection,
        *,
        external_id: str,
        content: bytes,
        filename: str = "",
        media_type: str = "",
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
        by: Principal,
    ) -> Document:
        """Take in a file, or a new edition of one, and queue the job that reads it, all in the caller's transaction.

        The same bytes under the same title again do nothing, unless they failed: then they are tried again. While a
        new edition is on its way the earlier one goes on answering. Raises UploadTooLarge over
        `MENHIR_UPLOAD_LIMIT_BYTES` and Invalid for an id that cannot be.
        """
        from apps.knowledge.intake import Upload, take_in

        upload = Upload(external_id, content, filename=filename, media_type=media_type, title=title, metadata=metadata)
        return take_in(collection, [upload], by=by)[0]

    @property
    def progress(self) -> tuple[int, int]:
        """(done, total) chunks of the latest edition; (0, 0) before it was read."""
        return self.chunks_done, self.chunks_total

    @property
    def is_answering(self) -> bool:
        """Whether some edition of it is searched."""
        return self.live_edition is not None

    @property
    def original(self) -> bytes:
        """The bytes of the latest upload, as they came."""
        from apps.knowledge.models.edition import Edition

        return bytes(Edition.objects.within(self.tenant_id).values_list("content", flat=True).get(id=self.latest_edition))

    def remove(self, *, by: Principal) -> None:
        """Delete the document with everything that was made of it; it stops answering at once."""
        Document.objects.within(self.tenant_id).filter(id=self.id).erase()
        audit.record(by, verb="document.deleted", noun="document", noun_id=self.id, detail={"external_id": self.external_id})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django asks for it (the staff admin does): erased in the same way."""
        erased = Document.objects.within(self.tenant_id).filter(id=self.id).erase()
        return erased, {self._meta.label: erased}
