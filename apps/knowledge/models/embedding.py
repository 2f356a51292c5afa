"""The vectors of a collection by one model.

A vector's row has no model class: the table `knowledge_embedding` is hash-partitioned by tenant and is read by
`menhir.search_chunks` alone. It holds vectors of any dimension up to 4,000 side by side, as `halfvec` without a fixed
size and `dimensions` beside it, checked to agree. HNSW wants one size for each index, so there is one partial index
for each usual size, over the cast to it: `… (vector::halfvec(384)) WHERE dimensions = 384`. Five of them cost nothing
while they are empty; a model of an unusual size is searched exactly, which is slower and never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection, models
from django.utils import timezone
from psycopg import RawCursor

from apps.knowledge.errors import EmbeddingRefused
from apps.knowledge.models.collection import Collection
from menhir.postgres import sql
from menhir.tenancy.models import TenantForeignKey, TenantModel

DIMENSIONS_LIMIT = 4_000
KEEP_VECTORS = sql.load("apps.knowledge", "keep_vectors")


class EmbeddingIndex(TenantModel):
    """The vectors of a collection by one model. The collection's `embedding_model` says which of its indexes answers."""

    collection = TenantForeignKey(Collection, on_delete=models.CASCADE, related_name="indexes")
    model = models.CharField(max_length=200)
    dimensions = models.IntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "embedding index"
        constraints = [models.UniqueConstraint(fields=["tenant", "collection", "model"], name="knowledge_embeddingindex_model")]

    @classmethod
    def of(cls, collection: Collection) -> EmbeddingIndex:
        """The index that answers for a collection, made when it has none."""
        index: EmbeddingIndex
        index, _made = cls.objects.within(collection.tenant_id).get_or_create(
            tenant_id=collection.tenant_id, collection=collection, model=collection.embedding_model
        )
        return index

    def keep(self, chunks: Sequence[UUID], vectors: Sequence[str]) -> None:
        """Keep a vector for each chunk; a chunk that has one already keeps it.

        Raises EmbeddingRefused when the model has begun to answer in another size: its vectors could not be compared.
        """
        dimensions = vectors[0].count(",") + 1
        if any(vector.count(",") + 1 != dimensions for vector in vectors) or dimensions > DIMENSIONS_LIMIT:
            raise EmbeddingRefused(f"The embedding model {self.model!r} answered with vectors that cannot be kept.")
        if self.dimensions is None:
            EmbeddingIndex.objects.within(self.tenant_id).filter(id=self.id, dimensions=None).update(dimensions=dimensions)
            self.refresh_from_db(fields=["dimensions"])
        if self.dimensions != dimensions:
            raise EmbeddingRefused(
                f"The embedding model {self.model!r} used to answer with {self.dimensions} dimensions and now does with {dimensions}. "
                "Use another name for another model."
            )
        # Inside a tenant's transaction there is a connection; psycopg's raw cursor takes the file's $1 as it stands.
        with connection.wrap_database_errors, RawCursor(connection.connection) as cursor:
            cursor.execute(KEEP_VECTORS.text.encode(), [self.tenant_id, self.id, dimensions, list(chunks), list(vectors)])
