"""A passage of a document."""

from __future__ import annotations

from django.db import models

from menhir.tenancy.models import TenantForeignKey, TenantModel


class Chunk(TenantModel):
    """A passage of a document, and where in its text it stands: `document.text[start:end] == text` once its edition is live.

    `heading` is the document's title as it is embedded and indexed before the text. In the database there is one more column, `search`: the
    tsvector of both in the collection's language, kept by the database itself.
    """

    document = TenantForeignKey("knowledge.Document", on_delete=models.CASCADE, related_name="chunks")
    edition = TenantForeignKey("knowledge.Edition", on_delete=models.CASCADE, related_name="chunks")
    ordinal = models.IntegerField()
    start = models.IntegerField()
    end = models.IntegerField()
    tokens = models.IntegerField()
    language = models.CharField(max_length=20)
    heading = models.CharField(max_length=400, default="", blank=True)
    text = models.TextField()

    class Meta:
        verbose_name = "chunk"
        constraints = [models.UniqueConstraint(fields=["tenant", "edition", "ordinal"], name="knowledge_chunk_ordinal")]

    @property
    def embedded_text(self) -> str:
        """What the embedding model reads for this chunk."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text
