"""Collection, Document, Edition, Chunk, EmbeddingIndex."""

from apps.knowledge.models.chunk import Chunk
from apps.knowledge.models.collection import Collection
from apps.knowledge.models.document import Document, Status
from apps.knowledge.models.edition import Edition
from apps.knowledge.models.embedding import EmbeddingIndex

__all__ = ["Chunk", "Collection", "Document", "Edition", "EmbeddingIndex", "Status"]
